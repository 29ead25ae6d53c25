//! The 47 classes as a choice.

use serde::{Deserialize, Serialize};

/// Makes the enum from names and characters.
macro_rules! letters {
    ($($name:ident $character:literal)*) => {
        /// A class of the glyphs.
        #[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
        #[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
        pub enum Letter {
            $(#[serde(rename = $character)] $name,)*
        }

        impl Letter {
            /// All of them, in the order of the classes.
            #[cfg(test)]
            const ALL: &[(Self, &str)] = &[$((Self::$name, $character),)*];

            /// The index of its class in [`Glyphs::CLASSES`](lab_kit::data::Glyphs::CLASSES).
            pub(super) fn class(self) -> u8 {
                self as u8
            }
        }
    };
}

letters! {
    Digit0 "0" Digit1 "1" Digit2 "2" Digit3 "3" Digit4 "4" Digit5 "5" Digit6 "6" Digit7 "7"
    Digit8 "8" Digit9 "9" UpperA "A" UpperB "B" UpperC "C" UpperD "D" UpperE "E" UpperF "F"
    UpperG "G" UpperH "H" UpperI "I" UpperJ "J" UpperK "K" UpperL "L" UpperM "M" UpperN "N"
    UpperO "O" UpperP "P" UpperQ "Q" UpperR "R" UpperS "S" UpperT "T" UpperU "U" UpperV "V"
    UpperW "W" UpperX "X" UpperY "Y" UpperZ "Z" LowerA "a" LowerB "b" LowerD "d" LowerE "e"
    LowerF "f" LowerG "g" LowerH "h" LowerN "n" LowerQ "q" LowerR "r" LowerT "t"
}

#[cfg(test)]
mod tests {
    use lab_kit::data::Glyphs;

    use super::*;

    #[test]
    fn a_letter_is_the_class_of_its_character() {
        assert_eq!(Letter::ALL.len(), Glyphs::CLASSES.len());
        for (letter, character) in Letter::ALL {
            assert_eq!(Glyphs::character(letter.class()).map(String::from).as_deref(), Some(*character));
        }
    }
}
