//! Requests as JSON text, for the same reason as [`crate::decode`].

use std::fmt::Write as _;

use lab_api::{Request, value_text};
use serde_json::Value;

/// What serde would write, but for spaces and the form of numbers.
pub(crate) fn request(request: &Request) -> String {
    let run = match request {
        Request::Run(run) => run,
        Request::Cancel => return r#"{"request":"cancel"}"#.to_owned(),
        Request::Hidden { hidden } => return format!(r#"{{"request":"hidden","hidden":{hidden}}}"#),
    };
    let mut values = String::new();
    for (name, value) in &run.values {
        let value = match value {
            Value::String(text) => quote(text),
            other => value_text(other),
        };
        if !values.is_empty() {
            values.push(',');
        }
        // Writing to a string does not fail.
        let _ = write!(values, "{}:{value}", quote(name));
    }
    let mut assets = String::new();
    for asset in &run.assets {
        if !assets.is_empty() {
            assets.push(',');
        }
        let (name, path, sha256) = (quote(&asset.name), quote(&asset.path), quote(&asset.sha256));
        let size = asset.size_bytes;
        let _ = write!(assets, r#"{{"name":{name},"path":{path},"sha256":{sha256},"size_bytes":{size}}}"#);
    }
    let (lab, root, device) = (quote(&run.lab), quote(&run.root), run.device.word());
    let (run_id, seed) = (run.run_id, run.seed);
    format!(
        r#"{{"request":"run","run_id":{run_id},"lab":{lab},"values":{{{values}}},"seed":{seed},"device":"{device}","assets":[{assets}],"root":{root}}}"#
    )
}

fn quote(text: &str) -> String {
    let mut quoted = String::from("\"");
    for character in text.chars() {
        match character {
            '"' | '\\' => quoted.extend(['\\', character]),
            control if control < ' ' => {
                let _ = write!(quoted, "\\u{:04x}", u32::from(control));
            }
            other => quoted.push(other),
        }
    }
    quoted.push('"');
    quoted
}

#[cfg(test)]
mod tests {
    use super::*;
    use lab_api::{AssetRef, DeviceChoice, RunRequest};

    #[test]
    fn the_engine_reads_what_was_meant() {
        let run = RunRequest {
            run_id: 3,
            lab: "quantization".into(),
            values: [
                ("bits".to_owned(), "4".into()),
                ("odd".to_owned(), "a \"quote\", a \\ and a\nline".into()),
                ("percentile".to_owned(), 99.95.into()),
                ("group_size".to_owned(), (-32).into()),
                ("bias".to_owned(), true.into()),
            ]
            .into(),
            seed: 1 << 53,
            device: DeviceChoice::Webgpu,
            assets: vec![AssetRef::new("a.b", "0123456789abcdef", 12), AssetRef::new("c", "ffff", 0)],
            root: "http://127.0.0.1:4000/b%20c/".into(),
        };
        for meant in
            [Request::Run(run), Request::Cancel, Request::Hidden { hidden: true }, Request::Hidden { hidden: false }]
        {
            let text = request(&meant);
            assert_eq!(serde_json::from_str::<Request>(&text).expect("valid"), meant, "{text}");
        }
    }
}
