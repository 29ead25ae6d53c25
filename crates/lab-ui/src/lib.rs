//! The widget around a lab, built from its parameter specifications. No Burn.

