//! Charts and the table.

use lab_api::{Axis, BarSeries, Cell, Chart, ChartBody, Image, Series, Table};
use lab_kit::distill::Material;

use super::{
    arms::{ARMS, CLASSES, Judged, Outcome},
    hidden::Unseen,
    summary::{LEVEL, agreement, calibration, shared_mistakes},
};
use lab_kit::order::Ordered as _;

/// Classes in a heat map, and pictures in a grid.
const SHOWN: usize = 10;
const PICTURES: usize = 24;

pub(super) fn charts(material: &Material, outcome: &Outcome, unseen: &Unseen, bias: f64) -> Vec<Chart> {
    let alike = alike(outcome);
    vec![
        ablation(material, outcome),
        biases(material, unseen),
        likeness(material, outcome, &alike),
        confusions("confusions_teacher", "What does the teacher mix up?", material, &outcome.teacher, &alike),
        confusions("confusions_labels", "And the student from labels?", material, &outcome.students[0], &alike),
        confusions("confusions_soft", "And the student from soft answers?", material, &outcome.students[4], &alike),
        pictures(material, unseen, bias),
    ]
}

/// The classes that the teacher finds most alike, in the order of the classes.
fn alike(outcome: &Outcome) -> Vec<usize> {
    let mut pairs: Vec<(f64, usize, usize)> = Vec::new();
    for (a, row) in outcome.likeness.iter().enumerate() {
        pairs.extend(row.iter().enumerate().filter(|(b, _)| *b != a).map(|(b, p)| (*p, a, b)));
    }
    pairs.ordered_by(&|one, other| other.0.total_cmp(&one.0));
    let mut classes = Vec::new();
    for (_, a, b) in pairs {
        for class in [a, b] {
            if classes.len() < SHOWN && !classes.contains(&class) {
                classes.push(class);
            }
        }
    }
    classes.sort_unstable();
    classes
}

fn ablation(material: &Material, outcome: &Outcome) -> Chart {
    let all: Vec<usize> = (0..material.subject.images.len()).collect();
    let found: Vec<_> =
        outcome.students.iter().map(|s| material.subject.accuracy_on(&all, &s.answers, LEVEL)).collect();
    Chart {
        id: "ablation".into(),
        title: "Which part of an answer teaches?".into(),
        caption: "Accuracy of five students of the same images, with 95 % intervals over font families.".into(),
        x: Axis::linear("Taught by"),
        y: Axis { max: Some(100.0), ..Axis::linear("Accuracy (%)") },
        body: ChartBody::Bar {
            categories: ARMS.iter().map(|(_, label)| (*label).to_owned()).collect(),
            series: vec![BarSeries {
                name: "Accuracy".into(),
                values: found.iter().map(|(percent, _)| *percent).collect(),
                intervals: found.iter().map(|(_, interval)| [interval.low, interval.high]).collect(),
            }],
        },
    }
}

/// Accuracy of the student that never saw some classes, against the bias.
fn biases(material: &Material, unseen: &Unseen) -> Chart {
    let steps: Vec<f64> = (0..=20).map(|i| 0.5 * f64::from(i)).collect();
    let found: Vec<_> = steps.iter().map(|bias| unseen.shares(material, *bias)).collect();
    let line = |name: &str, which: usize| Series {
        name: name.into(),
        points: steps.iter().zip(&found).map(|(bias, found)| [*bias, found[which]]).collect(),
        band: Vec::new(),
    };
    Chart {
        id: "biases".into(),
        title: "Can it name what it never saw?".into(),
        caption: format!(
            "Accuracy of the student that saw no image of the hidden classes, when a constant is added to their logits. At {} it \
             names them as often as its teacher does.",
            unseen.fitting
        ),
        x: Axis::linear("Bias"),
        y: Axis { min: Some(0.0), max: Some(100.0), ..Axis::linear("Accuracy (%)") },
        body: ChartBody::Line {
            series: vec![line("All classes", 2), line("Hidden classes", 0), line("Other classes", 1)],
        },
    }
}

fn heat(
    id: &str,
    title: &str,
    caption: &str,
    material: &Material,
    classes: &[usize],
    at: &dyn Fn(usize, usize) -> f64,
) -> Chart {
    let names: Vec<String> = classes.iter().map(|k| material.subject.images.character(*k as u8).to_string()).collect();
    let value = |a: usize, b: usize| (100.0 * at(a, b)).round() / 100.0;
    Chart {
        id: id.into(),
        title: title.into(),
        caption: caption.into(),
        x: Axis::linear("Answer"),
        y: Axis::linear("Class"),
        body: ChartBody::Heatmap {
            rows: names.clone(),
            columns: names,
            values: classes.iter().map(|a| classes.iter().map(|b| value(*a, *b)).collect()).collect(),
        },
    }
}

fn likeness(material: &Material, outcome: &Outcome, classes: &[usize]) -> Chart {
    let caption = "The teacher's softened answers, averaged over the transfer images of each class, in per cent. The ten classes that \
                   it finds most alike; a row is one class.";
    heat("likeness", "Which classes look alike to the teacher?", caption, material, classes, &|a, b| {
        100.0 * outcome.likeness[a][b]
    })
}

fn confusions(id: &str, title: &str, material: &Material, judged: &Judged, classes: &[usize]) -> Chart {
    let mut counts = vec![[0_usize; CLASSES]; CLASSES];
    for (label, answer) in material.subject.images.labels.iter().zip(&judged.answers) {
        if let Some(count) = counts.get_mut(usize::from(*label)).and_then(|row| row.get_mut(usize::from(*answer))) {
            *count += 1;
        }
    }
    let share = |a: usize, b: usize| 100.0 * counts[a][b] as f64 / counts[a].iter().sum::<usize>().max(1) as f64;
    heat(
        id,
        title,
        "Per cent of the images of each class that get each answer, for the same ten classes.",
        material,
        classes,
        &share,
    )
}

/// Hidden images, and what the student that saw none of them says.
fn pictures(material: &Material, unseen: &Unseen, bias: f64) -> Chart {
    let images = &material.subject.images;
    let answers = unseen.answers(bias);
    let hidden: Vec<usize> = (0..images.len()).filter(|i| unseen.hide.hides(images.labels[*i])).collect();
    let every = (hidden.len() / PICTURES).max(1);
    let picture = |i: &usize| Image {
        label: format!("{} named {}", images.character(images.labels[*i]), images.character(answers[*i])),
        pixels: images.image(*i).iter().map(|ink| (255.0 * ink).round() as u8).collect(),
        marked: images.labels[*i] != answers[*i],
    };
    Chart {
        id: "pictures".into(),
        title: "What does it say to classes it never saw?".into(),
        caption: format!(
            "Images of hidden classes and the student's answers at a bias of {bias}. Wrong ones are marked."
        ),
        x: Axis::default(),
        y: Axis::default(),
        body: ChartBody::ImageGrid {
            width: images.side as u32,
            height: images.side as u32,
            images: hidden.iter().step_by(every).take(PICTURES).map(picture).collect(),
        },
    }
}

/// Every student beside its teacher.
pub(super) fn table(material: &Material, outcome: &Outcome) -> Table {
    let all: Vec<usize> = (0..material.subject.images.len()).collect();
    let teacher = &outcome.teacher.answers;
    let names = ARMS.iter().map(|(_, label)| *label).chain(["Teacher"]);
    let rows = names.zip(outcome.students.iter().chain([&outcome.teacher])).map(|(name, judged)| {
        vec![
            Cell::from(name),
            material.subject.accuracy_on(&all, &judged.answers, LEVEL).0.into(),
            agreement(material, teacher, &judged.answers).into(),
            shared_mistakes(material, teacher, &judged.answers).into(),
            calibration(material, judged).into(),
            judged.alignment.into(),
        ]
    });
    Table {
        id: "students".into(),
        title: "What each took on".into(),
        columns: [
            "Taught by",
            "Accuracy (%)",
            "As the teacher (%)",
            "Its mistakes repeated (%)",
            "Calibration error (points)",
            "Alignment",
        ]
        .map(str::to_owned)
        .to_vec(),
        rows: rows.collect(),
    }
}
