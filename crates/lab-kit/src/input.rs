//! Bytes that a lab reads piece by piece: a file of the reader's, or an asset in its place.

use std::{ops::Range, rc::Rc};

use lab_api::{BadParam, LabError};

use crate::{Context, Host};

/// A file that is read where and when it is needed, and may be larger than memory.
pub struct Input {
    name: String,
    size_bytes: u64,
    place: Place,
}

enum Place {
    /// An asset, held whole.
    Asset(Vec<u8>),
    /// The file that came with this parameter.
    Reader { host: Rc<dyn Host>, param: &'static str },
}

impl Input {
    /// The file that the reader chose for the parameter `param`, whose value is `name`; where there is none, the asset in
    /// its place.
    ///
    /// # Errors
    /// [`LabError::BadParam`] when a file is named that did not come along, [`LabError::Asset`] as [`Context::asset`].
    pub async fn open(cx: &Context, param: &'static str, name: &str, asset: &str) -> Result<Self, LabError> {
        if name.is_empty() {
            return Ok(Self::of_asset(asset, cx.asset(asset).await?));
        }
        let host = cx.host();
        let Some(size_bytes) = host.file_bytes(param) else {
            let why = format!("no file came with the name “{name}”; choose it again, on this device");
            return Err(BadParam { name: param.to_owned(), why }.into());
        };
        Ok(Self { name: name.to_owned(), size_bytes, place: Place::Reader { host, param } })
    }

    /// The content of an asset.
    #[must_use]
    pub fn of_asset(name: &str, bytes: Vec<u8>) -> Self {
        Self { name: name.to_owned(), size_bytes: bytes.len() as u64, place: Place::Asset(bytes) }
    }

    /// Its name.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Its length in bytes.
    #[must_use]
    pub fn size_bytes(&self) -> u64 {
        self.size_bytes
    }

    /// The bytes at these positions.
    ///
    /// # Errors
    /// [`LabError::File`] or [`LabError::Asset`] when it ends before, or cannot be read any more.
    pub async fn read(&self, range: Range<u64>) -> Result<Vec<u8>, LabError> {
        if range.end > self.size_bytes {
            return Err(self.fail(format!("it ends after {} bytes; byte {} is missing", self.size_bytes, range.end)));
        }
        match &self.place {
            // Within the length, which is a usize.
            Place::Asset(bytes) => Ok(bytes[range.start as usize..range.end as usize].to_vec()),
            Place::Reader { host, param } => {
                let wanted = range.end - range.start;
                let bytes = host.read_file(param, range).await.map_err(|why| self.fail(why))?;
                if bytes.len() as u64 != wanted {
                    return Err(self.fail("it became shorter while it was read".to_owned()));
                }
                Ok(bytes)
            }
        }
    }

    /// What is wrong with it.
    #[must_use]
    pub fn fail(&self, why: String) -> LabError {
        let name = self.name.clone();
        match self.place {
            Place::Asset(_) => LabError::Asset { name, why },
            Place::Reader { .. } => LabError::File { name, why },
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::{FakeClock, context, ready};

    #[test]
    fn a_file_that_did_not_come_is_refused_by_the_name_of_its_parameter() {
        let cx = context(Rc::new(FakeClock::new(1.0)));
        let refused = ready(Input::open(&cx, "weights", "a.bin", "asset")).err().expect("no file");
        assert!(matches!(&refused, LabError::BadParam(bad) if bad.name == "weights"), "{refused}");
        assert!(refused.to_string().contains("“a.bin”"));
    }

    #[test]
    fn what_lies_beyond_the_end_is_refused() {
        let input = Input::of_asset("a", vec![1, 2, 3, 4]);
        assert_eq!(ready(input.read(1..3)).expect("there"), [2, 3]);
        let cut = ready(input.read(2..6)).expect_err("cut").to_string();
        assert!(cut.contains("ends after 4 bytes"), "{cut}");
    }
}
