//! From what a reader chose to what is swapped in.

use lab_api::LabError;
use lab_kit::{
    Context,
    cache::Decoder,
    mixing::{Lesson, Map, Reading, Way, learn_maps, random_rows},
};

use super::{Method, Params, source::Source};

/// Windows that learned maps look at.
const LESSONS: usize = 6;

/// Something that is swapped in.
pub(super) struct Arm {
    pub(super) method: Method,
    pub(super) name: String,
    pub(super) way: Way,
}

/// Random rows: one set for all heads, or one for each of `heads`.
fn rows(params: &Params, d: usize, heads: usize, of: impl Fn(Vec<f32>) -> Map, cx: &Context) -> Way {
    let mut rng = cx.rng("features");
    let count = if params.redraw { heads } else { 1 };
    let maps = (0..count).map(|_| of(random_rows(params.features as usize, d, params.orthogonal, &mut rng)));
    Way::Kernel(maps.collect(), 1.0)
}

/// What a method is, without what has to be learned.
pub(super) fn plain(method: Method, params: &Params, d: usize, heads: usize, cx: &Context) -> Way {
    let kernel = |map: Map, decay: f32| Way::Kernel(vec![map], decay);
    match method {
        Method::Uniform => kernel(Map::Uniform, 1.0),
        Method::Elu | Method::Learned => kernel(Map::Elu, 1.0),
        Method::Relu => kernel(Map::Relu, 1.0),
        Method::Taylor => kernel(Map::Taylor, 1.0),
        Method::Performer => rows(params, d, heads, Map::Positive, cx),
        Method::Sines => rows(params, d, heads, Map::Sines, cx),
        Method::Decay => kernel(Map::Elu, params.decay as f32),
        Method::Delta => Way::Delta { write: params.beta as f32, keep: 1.0 },
        Method::GatedDelta => Way::Delta { write: params.beta as f32, keep: params.decay as f32 },
        Method::Window => Way::Softmax { window: params.window as usize },
        Method::Top => Way::Top(params.window as usize),
        Method::Linformer => Way::Pooled(params.rank as usize),
    }
}

pub(super) fn name(method: Method, params: &Params) -> String {
    match method {
        Method::Uniform => "Uniform".into(),
        Method::Elu => "elu + 1".into(),
        Method::Relu => "ReLU".into(),
        Method::Taylor => "Taylor".into(),
        Method::Performer => format!("Performer {}", params.features),
        Method::Sines => format!("Sines {}", params.features),
        Method::Learned => format!("Learned {}", params.features),
        Method::Decay => format!("elu + 1, fading {}", params.decay),
        Method::Delta => "Delta".into(),
        Method::GatedDelta => "Delta, fading".into(),
        Method::Window => format!("Window {}", params.window),
        Method::Top => format!("Top {}", params.window),
        Method::Linformer => format!("Linformer {}", params.rank),
    }
}

pub(super) async fn learned(
    features: u32,
    steps: usize,
    source: &Source,
    decoder: &Decoder,
    cx: &Context,
) -> Result<Way, LabError> {
    let reading = source.lesson(decoder, LESSONS, 128, cx).await?;
    let lesson = Lesson { features: features as usize, steps, rate: 0.03 };
    let told = |done: f64| cx.progress("Feature maps learn to imitate", 0.1 + 0.3 * done);
    Ok(Way::Kernel(learn_maps(&reading, lesson, cx, told).await?, 1.0))
}

/// The reader's method last, beside those that every run shows.
pub(super) async fn arms(
    params: &Params,
    reading: &Reading,
    source: &Source,
    decoder: &Decoder,
    cx: &Context,
) -> Result<Vec<Arm>, LabError> {
    let (d, heads) = (reading.channels, decoder.config().heads * decoder.config().layers);
    let mut methods = vec![Method::Uniform, Method::Elu, Method::Performer, Method::Window];
    methods.retain(|method| *method != params.method);
    methods.push(params.method);
    let mut arms = Vec::new();
    for method in methods {
        let way = if method == Method::Learned {
            learned(params.features, if params.is_short() { 4 } else { 36 }, source, decoder, cx).await?
        } else {
            plain(method, params, d, heads, cx)
        };
        arms.push(Arm { method, name: name(method, params), way });
    }
    Ok(arms)
}
