//! What the reader does to the controls.

use lab_api::{DeviceChoice, Link};

use super::Lab;
use crate::setting::{File, instead};
use crate::{Input, page};

/// A live lab runs again this long after a control has changed, so that a slider in motion asks for a few runs a second, in
/// milliseconds.
const FOLLOW_MS: i32 = 120;

impl Lab {
    /// Takes a value from a control, or says beside it why not.
    pub(crate) fn set_param(self, name: &str, text: &str) {
        let inner = self.inner();
        let Some(spec) = inner.data.params.iter().find(|spec| spec.name == name) else { return };
        match spec.parse(text) {
            Ok(value) => {
                inner.setting.borrow_mut().values.insert(spec.name.clone(), value);
                self.accepted(name);
            }
            Err(why) => self.refused(name, &why),
        }
    }

    /// As [`Self::set_param`], for a file; without one the lab takes its own.
    pub(crate) fn set_file(self, name: &str, file: Option<File>) {
        let words = file.as_ref().map(File::name).unwrap_or_default();
        let inner = self.inner();
        inner.setting.borrow_mut().take_file(name, file);
        self.set_param(name, &words);
    }

    /// As [`Self::set_param`], for the seed.
    pub(crate) fn set_seed(self, text: &str) {
        let link = Link::read(&[], &[("seed", text)]);
        match link.problems.first() {
            None => {
                self.inner().setting.borrow_mut().seed = link.seed;
                self.accepted("seed");
            }
            Some(problem) => self.refused("seed", &problem.why),
        }
    }

    pub(crate) fn set_device(self, device: DeviceChoice) {
        self.inner().setting.borrow_mut().device = device;
        self.look_for_gpu();
        self.accepted("device");
    }

    /// The value of a control as text.
    pub(crate) fn text(self, name: &str) -> String {
        self.inner().setting.borrow().text(name)
    }

    pub(super) fn accepted(self, name: &str) {
        self.inner().problems.borrow_mut().retain(|(of, _)| of != name);
        self.tell(self.changed);
        if let Some(address) = self.address(false) {
            page::replace_address(&address);
        }
        self.follow();
    }

    /// In a live lab that has run: runs again soon, if the result shown is not of the present setting then.
    pub(super) fn follow(self) {
        let inner = self.inner();
        if !inner.data.live || inner.following.replace(true) {
            return;
        }
        page::spawn(async move {
            page::sleep(FOLLOW_MS).await;
            inner.following.set(false);
            if self.is_stale() {
                let setting = inner.setting.borrow().clone();
                self.step(Input::Again(setting));
            }
        });
    }

    fn refused(self, name: &str, why: &str) {
        let why = instead(why, &self.text(name));
        let inner = self.inner();
        inner.problems.borrow_mut().retain(|(of, _)| of != name);
        inner.problems.borrow_mut().push((name.to_owned(), why));
        self.tell(self.changed);
    }

    /// The address of this setting. Where everything is at its default it needs no query, unless it is `explicit`.
    pub(crate) fn address(self, explicit: bool) -> Option<String> {
        let inner = self.inner();
        let mut pairs = inner.setting.borrow().pairs(&inner.data.lab, &inner.data.params);
        if pairs.len() == 1 && !explicit {
            pairs.clear();
        }
        page::address(&pairs, &format!("lab-{}", inner.data.lab))
    }
}
