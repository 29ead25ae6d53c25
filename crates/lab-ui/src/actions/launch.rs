//! Where a run takes place, and how it gets there.

use std::rc::Rc;

use lab_api::{DeviceChoice, DeviceKind, Request, RunRequest};

use super::{Lab, place};
use crate::engine::{Engine, Heard};
use crate::{Adapter, Input, Manifest, Setting, Trouble, Wish, choose, page};

impl Lab {
    /// Where to run. A live engine needs no network; else the manifest says which are built.
    pub(super) async fn plan(self, wish: Wish, chosen: DeviceChoice) -> Result<(Vec<DeviceKind>, String), Trouble> {
        let inner = self.inner();
        let choice = match wish {
            Wish::Cpu => DeviceChoice::Cpu,
            Wish::Chosen | Wish::Both => chosen,
        };
        let adapter = match (wish, choice) {
            (Wish::Cpu, _) | (Wish::Chosen, DeviceChoice::Cpu) => Adapter::None,
            _ => page::adapter().await,
        };
        let lives = |kind| inner.engines.borrow()[place(kind)].is_some();
        let all = [DeviceKind::Cpu, DeviceKind::Webgpu];
        // What is already here is not asked for again, so that a second run works without a network.
        if !(lives(DeviceKind::Cpu) && (adapter == Adapter::None || lives(DeviceKind::Webgpu))) {
            let known = fetch_manifest(&inner.root).await;
            match known {
                Ok(manifest) => *inner.manifest.borrow_mut() = Some(manifest),
                Err(trouble) if !all.into_iter().any(lives) => return Err(trouble),
                Err(_) => {}
            }
        }
        let built = |kind| lives(kind) || inner.manifest.borrow().as_ref().is_some_and(|m| m.bundle(kind).is_some());
        if wish == Wish::Both {
            choose(DeviceChoice::Cpu, adapter, built)?;
            choose(DeviceChoice::Webgpu, adapter, built)?;
            return Ok((all.to_vec(), String::new()));
        }
        choose(choice, adapter, built).map(|(kind, remark)| (vec![kind], remark.to_owned()))
    }

    /// Asks an engine to run with this setting, and starts it first where needed.
    pub(super) fn launch(self, run_id: u32, kind: DeviceKind, setting: Setting) -> Result<(), Trouble> {
        let inner = self.inner();
        let on_gpu = kind == DeviceKind::Webgpu;
        let failed = |why: String| {
            Trouble::new(format!("The engine could not be started: {why}. Press Run to try again."), on_gpu)
        };
        if inner.engines.borrow()[place(kind)].is_none() {
            let entry = inner.manifest.borrow().as_ref().and_then(|m| m.bundle(kind)).map(|b| b.entry.clone());
            let entry = entry.ok_or_else(|| failed("it is not built".to_owned()))?;
            let hear = Rc::new(move |heard| match heard {
                Heard::Said(event) => self.step(Input::Said(event)),
                Heard::Broke(why) => self.step(Input::Broke { kind, why }),
            });
            let engine = Engine::start(&format!("{}{entry}", inner.root), hear).map_err(failed)?;
            inner.engines.borrow_mut()[place(kind)] = Some(engine);
            self.tell_hidden();
        }
        let request = RunRequest {
            run_id,
            lab: inner.data.lab.clone(),
            values: setting.values,
            seed: setting.seed,
            // Which engine is asked decides; this says whether it may do without a GPU that turns out to be of no use.
            device: setting.device,
            assets: inner.data.assets.clone(),
            root: inner.root.clone(),
        };
        match &inner.engines.borrow()[place(kind)] {
            Some(engine) => engine.send(&Request::Run(request), &setting.files).map_err(failed),
            None => Err(failed("it is gone".to_owned())),
        }
    }
}

async fn fetch_manifest(root: &str) -> Result<Manifest, Trouble> {
    let trouble = |why: String| {
        let words = format!("The engine could not be fetched ({why}). Check the connection, then press Run.");
        Trouble::new(words, false)
    };
    let text = page::fetch_text(&format!("{root}pkg/manifest.json")).await.map_err(trouble)?;
    Manifest::from_json(&text).map_err(|error| trouble(format!("pkg/manifest.json: {error}")))
}
