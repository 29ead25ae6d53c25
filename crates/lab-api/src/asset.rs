//! Where a dataset or weight file is found, and how one knows it is the right one.

use serde::{Deserialize, Serialize};

/// A file of `assets/` as a page or a worker sees it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct AssetRef {
    /// Name in `assets/manifest.toml`, for example `digits/mlp.safetensors`.
    pub name: String,
    /// Address relative to the book's root, hashed: see [`asset_path`].
    pub path: String,
    /// Lower-case hexadecimal SHA-256 of the content; the engine refuses anything else.
    pub sha256: String,
    /// Size in bytes.
    pub size_bytes: u64,
}

impl AssetRef {
    /// A reference whose path follows from name and checksum.
    #[must_use]
    pub fn new(name: &str, sha256: &str, size_bytes: u64) -> Self {
        Self { name: name.to_owned(), path: asset_path(name, sha256), sha256: sha256.to_owned(), size_bytes }
    }
}

/// The path of an asset in the built site: `assets/digits/mlp.safetensors` with the hash before its extension, so that
/// it may be cached for ever.
#[must_use]
pub fn asset_path(name: &str, sha256: &str) -> String {
    let hash = sha256.get(..12).unwrap_or(sha256);
    match name.split_once('.') {
        Some((stem, extension)) => format!("assets/{stem}.{hash}.{extension}"),
        None => format!("assets/{name}.{hash}"),
    }
}

#[cfg(test)]
mod tests {
    use super::asset_path;

    #[test]
    fn the_hash_stands_before_all_extensions() {
        let sha = "0123456789abcdef0123";
        assert_eq!(asset_path("digits/digits.csv.gz", sha), "assets/digits/digits.0123456789ab.csv.gz");
        assert_eq!(asset_path("plain", sha), "assets/plain.0123456789ab");
    }
}
