//! The arithmetic, tensor by tensor and block by block. All of quantization is `lab_kit::quant`.

use lab_api::LabError;
use lab_kit::{
    Context,
    linalg::{Matrix, eigen},
    quant::{Calibration, Granularity, Grid, Scheme, Settings, fit_grids, packed_len, sqnr_db, squared_error},
    report::thousands,
    tensor_file::{TensorEntry, TensorFile, Unread},
};

/// Widths that are tried, widest first.
pub(super) const WIDTHS: [u32; 4] = [8, 4, 3, 2];

/// Share of a matrix's energy (its squared weights) that a rank must hold, to count as enough.
pub(super) const ENERGY: f64 = 0.99;
/// A matrix with more weights than this is not decomposed, nor one whose smaller side is longer: it would take minutes.
const LARGEST_DECOMPOSED: usize = 1 << 19;
const LONGEST_SIDE: usize = 192;

/// What is known of one matrix.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Measured {
    pub(super) name: String,
    pub(super) shape: Vec<usize>,
    pub(super) dtype: String,
    pub(super) weights: usize,
    pub(super) stored_bytes: u64,
    /// Largest magnitude over standard deviation.
    pub(super) max_over_sigma: f64,
    /// Fourth moment over the square of the second, about the mean: 3 for a bell curve.
    pub(super) kurtosis: f64,
    /// At each of [`WIDTHS`].
    pub(super) sqnr_db: [f64; 4],
    /// At each of [`WIDTHS`]: codes, scales, zero points.
    pub(super) bytes: [u64; 4],
    /// Weights that are zero, of either sign.
    pub(super) zeros: usize,
    /// As stored, but zeros left out: a bit for each weight says whether it is one.
    pub(super) bitmap_bytes: u64,
    /// The least rank that holds [`ENERGY`]; none where the matrix is too large to be decomposed here.
    pub(super) rank: Option<usize>,
    /// Two factors of that rank in the file's own type; as stored where there is no rank, or where that is fewer.
    pub(super) factored_bytes: u64,
}

/// A file on its way through the lab.
pub(super) struct Survey {
    scheme: Scheme,
    granularity: Granularity,
    /// Matrices still to be measured, and vectors and scalars still to be looked through, the next one last.
    waiting: Vec<TensorEntry>,
    /// Bytes of those that were measured, and of those that are or were waiting.
    done_bytes: u64,
    total_bytes: u64,
    /// Bytes of every tensor of the file, measured or not.
    file_bytes: u64,
    pub(super) tensors: Vec<Measured>,
    /// What nobody quantizes, vectors, scalars and empty tensors: how many, and their bytes.
    pub(super) kept: [(usize, u64); 3],
    /// Matrices that are left out, and why.
    pub(super) unread: Vec<(TensorEntry, Unread)>,
    /// Vectors and scalars that hold an infinity or no number: nobody quantizes them, but one of them spoils every output.
    pub(super) odd: Vec<(TensorEntry, Unread)>,
}

/// `1 vector`, `2 vectors`.
pub(super) fn counted(number: usize, what: &str) -> String {
    let many = what.strip_suffix("rix").map_or_else(|| format!("{what}s"), |stem| format!("{stem}rices"));
    format!("{} {}", thousands(number), if number == 1 { what } else { &many })
}

fn is_matrix(tensor: &TensorEntry) -> bool {
    tensor.shape.len() > 1
}

/// Power sums of a tensor's numbers.
#[derive(Debug, Clone, Copy, Default)]
struct Moments {
    count: f64,
    sums: [f64; 4],
    min: f32,
    max: f32,
    zeros: usize,
}

impl Moments {
    fn add(&mut self, values: &[f32]) {
        self.count += values.len() as f64;
        for value in values {
            let x = f64::from(*value);
            let square = x * x;
            for (sum, power) in self.sums.iter_mut().zip([x, square, square * x, square * square]) {
                *sum += power;
            }
            (self.min, self.max) = (self.min.min(*value), self.max.max(*value));
            self.zeros += usize::from(*value == 0.0);
        }
    }

    /// Largest magnitude over standard deviation, and kurtosis; zeros where all numbers are equal.
    fn outliers(&self) -> (f64, f64) {
        let [m1, m2, m3, m4] = self.sums.map(|sum| sum / self.count.max(1.0));
        let variance = m2 - m1 * m1;
        if variance <= 1e-12 * m2 || variance.is_nan() {
            return (0.0, 0.0);
        }
        let fourth = m4 - 4.0 * m1 * m3 + 6.0 * m1 * m1 * m2 - 3.0 * m1.powi(4);
        (f64::from(self.max.max(-self.min)) / variance.sqrt(), fourth / (variance * variance))
    }
}

impl Survey {
    /// What there is to do in a file.
    ///
    /// # Errors
    /// [`LabError::File`] where it holds no matrix that can be read.
    pub(super) fn new(file: &TensorFile, scheme: Scheme, granularity: Granularity) -> Result<Self, LabError> {
        let (mut waiting, mut kept, mut unread) = (Vec::new(), [(0, 0); 3], Vec::new());
        for tensor in &file.tensors {
            let kind = match tensor.shape.len() {
                _ if tensor.is_empty() => Some(2),
                0 => Some(1),
                1 => Some(0),
                _ => None,
            };
            if let Some(kind) = kind {
                let (count, bytes) = &mut kept[kind];
                (*count, *bytes) = (*count + 1, *bytes + tensor.bytes);
                if kind < 2 && tensor.is_float() {
                    waiting.push(tensor.clone());
                }
            } else if tensor.is_float() {
                waiting.push(tensor.clone());
            } else {
                unread.push((tensor.clone(), Unread::Type));
            }
        }
        let bytes_of = |tensors: &[TensorEntry]| tensors.iter().map(|tensor| tensor.bytes).sum::<u64>();
        let (total_bytes, file_bytes) = (bytes_of(&waiting), bytes_of(&file.tensors));
        waiting.reverse();
        let survey = Self {
            scheme,
            granularity,
            waiting,
            done_bytes: 0,
            total_bytes,
            file_bytes,
            tensors: Vec::new(),
            kept,
            unread,
            odd: Vec::new(),
        };
        if !survey.has_more() {
            return Err(file.fail(survey.nothing(file)));
        }
        Ok(survey)
    }

    /// Whether a matrix is waiting.
    fn has_more(&self) -> bool {
        self.waiting.iter().any(is_matrix)
    }

    /// Why there is nothing to measure.
    fn nothing(&self, file: &TensorFile) -> String {
        if let Some((tensor, why)) = self.unread.first() {
            let packed = if tensor.dtype.starts_with('I') || tensor.dtype.starts_with('U') {
                ": packed weights of a quantized model (GPTQ, AWQ)? Take the unquantized file"
            } else {
                ""
            };
            return format!(
                "tensor “{}” {}, and this lab reads F32, F16 and BF16{packed}",
                tensor.label(),
                why.words(tensor)
            );
        }
        let kept = self.kept_words();
        if kept.is_empty() {
            return format!("it holds {}no tensor", if file.has_metadata { "metadata and " } else { "" });
        }
        format!("it holds {kept} and no matrix of weights: there is nothing to quantize")
    }

    /// `1 vector (64 bytes), 2 scalars (6 bytes) and 3 empty tensors`.
    pub(super) fn kept_words(&self) -> String {
        let named = self.kept.iter().zip(["vector", "scalar", "empty tensor"]).filter(|((count, _), _)| *count > 0);
        let parts: Vec<String> = named
            .map(|((count, bytes), what)| {
                let size =
                    if *bytes > 0 { format!(" ({})", lab_kit::tensor_file::bytes(*bytes)) } else { String::new() };
                counted(*count, what) + &size
            })
            .collect();
        match parts.split_last() {
            Some((last, [])) => last.clone(),
            Some((last, rest)) => format!("{} and {last}", rest.join(", ")),
            None => String::new(),
        }
    }

    /// Name of the next tensor, and the share of the work that is behind.
    pub(super) fn next_tensor(&self) -> Option<(String, f64)> {
        self.waiting.last().map(|next| (next.label(), self.done_bytes as f64 / self.total_bytes.max(1) as f64))
    }

    /// Looks through the next vector, or measures the next matrix: first its extremes and moments, then the error of each width. Twice through the file, so
    /// that no more of it is held than a block.
    pub(super) async fn measure(&mut self, file: &TensorFile, cx: &Context) -> Result<(), LabError> {
        let Some(tensor) = self.waiting.pop() else { return Ok(()) };
        let columns = tensor.columns();
        self.done_bytes += tensor.bytes;
        let mut moments = Moments::default();
        let unread = file
            .rows(&tensor, cx, |block| {
                moments.add(block);
                Ok(())
            })
            .await?;
        if !is_matrix(&tensor) {
            self.odd.extend(unread.map(|why| (tensor, why)));
            return Ok(());
        }
        if let Some(why) = unread {
            self.unread.push((tensor, why));
            // Nothing is left that could be measured.
            return if !self.has_more() && self.tensors.is_empty() {
                Err(file.fail(self.nothing(file)))
            } else {
                Ok(())
            };
        }
        let settings = WIDTHS.map(|bits| Settings::weight_only(bits, self.scheme, self.granularity));
        let whole = WIDTHS.map(|bits| Grid::fit(self.scheme, bits, moments.min, moments.max));
        let (mut noise, mut grids) = ([0.0; 4], 0);
        let rows = tensor.len() / columns.max(1);
        let small = tensor.len() <= LARGEST_DECOMPOSED && rows.min(columns) <= LONGEST_SIDE;
        let mut whole_matrix = Vec::new();
        file.rows(&tensor, cx, |block| {
            if small {
                whole_matrix.extend_from_slice(block);
            }
            for i in 0..WIDTHS.len() {
                let (error, fitted) = match self.granularity {
                    Granularity::Tensor => (squared_error(&whole[i], block), 0),
                    _ => error(block, columns, &settings[i]),
                };
                noise[i] += error;
                if i == 0 {
                    grids += fitted;
                }
            }
            Ok(())
        })
        .await?;
        let grids = grids.max(1);
        let (max_over_sigma, kurtosis) = moments.outliers();
        cx.checkpoint().await?;
        let rank = if small { rank_of(&whole_matrix, rows, columns) } else { None };
        let each = tensor.bytes / tensor.len().max(1) as u64;
        let kept = (tensor.len() - moments.zeros) as u64;
        self.tensors.push(Measured {
            zeros: moments.zeros,
            bitmap_bytes: (kept * each + tensor.len().div_ceil(8) as u64).min(tensor.bytes),
            rank,
            factored_bytes: rank
                .map_or(tensor.bytes, |rank| ((rank * (rows + columns)) as u64 * each).min(tensor.bytes)),
            weights: tensor.len(),
            stored_bytes: tensor.bytes,
            max_over_sigma,
            kurtosis,
            sqnr_db: noise.map(|noise| sqnr_db(moments.sums[1], noise)),
            bytes: WIDTHS.map(|bits| bytes(rows, columns, bits, grids, self.scheme)),
            name: tensor.label(),
            shape: tensor.shape,
            dtype: tensor.dtype,
        });
        Ok(())
    }

    /// The measured matrix that loses most at a width.
    pub(super) fn worst(&self, width: usize) -> Option<&Measured> {
        self.tensors.iter().min_by(|a, b| a.sqnr_db[width].total_cmp(&b.sqnr_db[width]))
    }

    /// Bytes of the whole file's tensors with the measured ones packed at a width; what is left out stays as it is.
    pub(super) fn bytes(&self, width: usize) -> u64 {
        self.bytes_with(|tensor| tensor.bytes[width])
    }

    /// Bytes of the whole file's tensors with another size for each measured one.
    pub(super) fn bytes_with(&self, size: impl Fn(&Measured) -> u64) -> u64 {
        let measured: u64 = self.tensors.iter().map(|tensor| tensor.stored_bytes).sum();
        self.file_bytes - measured + self.tensors.iter().map(size).sum::<u64>()
    }

    /// Weights that are zero, in per cent of those measured.
    pub(super) fn zeros_percent(&self) -> f64 {
        let zeros: usize = self.tensors.iter().map(|tensor| tensor.zeros).sum();
        100.0 * zeros as f64 / self.weights().max(1) as f64
    }

    /// Bytes of the whole file's tensors as stored.
    pub(super) fn stored_bytes(&self) -> u64 {
        self.file_bytes
    }

    /// Weights measured.
    pub(super) fn weights(&self) -> usize {
        self.tensors.iter().map(|tensor| tensor.weights).sum()
    }
}

/// The least rank whose singular values hold [`ENERGY`] of the matrix: by the eigenvalues of the smaller of its two Gram
/// matrices, which are the squared singular values. None where they are not found.
fn rank_of(values: &[f32], rows: usize, columns: usize) -> Option<usize> {
    let side = rows.min(columns);
    let mut gram = Matrix::zeros(side, side);
    if columns <= rows {
        for row in values.chunks_exact(columns) {
            for (i, a) in row.iter().enumerate() {
                for (sum, b) in gram.row_mut(i)[..=i].iter_mut().zip(row) {
                    *sum += f64::from(*a) * f64::from(*b);
                }
            }
        }
    } else {
        let all: Vec<&[f32]> = values.chunks_exact(columns).collect();
        for (i, a) in all.iter().enumerate() {
            for (sum, b) in gram.row_mut(i)[..=i].iter_mut().zip(&all) {
                *sum = a.iter().zip(*b).map(|(a, b)| f64::from(*a) * f64::from(*b)).sum();
            }
        }
    }
    let energies = eigen(&gram)?.values;
    let total: f64 = energies.iter().map(|energy| energy.max(0.0)).sum();
    let mut held = 0.0;
    let enough = |energy: &f64| {
        held += energy.max(0.0);
        held >= ENERGY * total
    };
    energies.iter().position(enough).map(|at| at + 1)
}

/// Squared error of whole rows, each scale fitted to its own weights, and how many scales that takes.
fn error(block: &[f32], columns: usize, settings: &Settings) -> (f64, usize) {
    let grids = fit_grids(block, columns, settings, Calibration::MinMax);
    let group = settings.granularity.group_size(columns);
    let groups = block.chunks(columns).flat_map(|row| row.chunks(group));
    (groups.zip(&grids).map(|(group, grid)| squared_error(grid, group)).sum(), grids.len())
}

/// Bytes of a packed matrix: codes, four for each scale, one for each zero point.
fn bytes(rows: usize, columns: usize, bits: u32, grids: usize, scheme: Scheme) -> u64 {
    let grid = if scheme == Scheme::Affine { 5 } else { 4 };
    (rows * packed_len(columns, bits) + grids * grid) as u64
}

#[cfg(test)]
mod tests {
    use std::{
        pin::pin,
        task::{Poll, Waker},
    };

    use lab_kit::{
        quant::{PackedMatrix, naive::fake_quantize, signal_and_noise},
        rng,
    };
    use rand::Rng;

    use super::*;

    fn weights(count: usize) -> Vec<f32> {
        let mut rng = rng(1, "weights");
        (0..count).map(|_| rng.random_range(-1.0_f32..1.0).powi(3)).collect()
    }

    #[test]
    fn error_and_bytes_are_those_of_the_packed_matrix_and_of_the_naive_rounding() {
        let (columns, values) = (40, weights(40 * 12));
        for bits in WIDTHS {
            for scheme in [Scheme::Symmetric, Scheme::Affine] {
                for granularity in [Granularity::Channel, Granularity::Group(16)] {
                    let settings = Settings::weight_only(bits, scheme, granularity);
                    let (noise, grids) = error(&values, columns, &settings);
                    let (_, naive) = signal_and_noise(&values, &fake_quantize(&values, columns, &settings));
                    assert!((noise - naive).abs() < 1e-4 * naive, "{noise} {naive} {settings:?}");
                    let packed = PackedMatrix::quantize(&values, columns, &settings);
                    assert_eq!(bytes(12, columns, bits, grids, scheme), packed.bytes() as u64, "{settings:?}");
                }
            }
        }
    }

    #[test]
    fn the_rank_is_that_of_the_singular_values() {
        // One direction; three equal ones, of which 99 % take all; and one that holds 99.5 %.
        let one: Vec<f32> = (0..6).flat_map(|i| (0..4).map(move |j| (i + 1) as f32 * (j as f32 - 1.5))).collect();
        assert_eq!((rank_of(&one, 6, 4), rank_of(&one, 4, 6).map(|rank| rank <= 4)), (Some(1), Some(true)));
        let three: Vec<f32> = (0..5).flat_map(|i| (0..3).map(move |j| f32::from(u8::from(i == j)))).collect();
        assert_eq!(rank_of(&three, 5, 3), Some(3));
        let across: Vec<f32> = (0..3).flat_map(|i| (0..5).map(move |j| f32::from(u8::from(i == j)))).collect();
        assert_eq!(rank_of(&across, 3, 5), Some(3));
        let most = [10.0, 0.0, 0.0, 0.7];
        assert_eq!(rank_of(&most, 2, 2), Some(1));
        assert_eq!(rank_of(&[0.0; 6], 3, 2), Some(1));
        assert_eq!(rank_of(&[f32::NAN; 4], 2, 2), None);
    }

    #[test]
    fn moments_tell_tails() {
        let mut moments = Moments::default();
        moments.add(&[-1.0, 1.0, -1.0, 1.0]);
        assert_eq!(moments.outliers(), (1.0, 1.0));
        let mut same = Moments::default();
        same.add(&[0.5; 9]);
        assert_eq!(same.outliers(), (0.0, 0.0));
        let mut tail = Moments::default();
        tail.add(&[1.0, -1.0, 1.0, -1.0, 1.0, -1.0, 1.0, -1.0, 10.0, -10.0]);
        let (sigma, kurtosis) = tail.outliers();
        // Variance (8 + 200) / 10; fourth moment (8 + 20,000) / 10.
        assert!((sigma - 10.0 / 20.8_f64.sqrt()).abs() < 1e-12 && (kurtosis - 2000.8 / 20.8_f64.powi(2)).abs() < 1e-9);
    }

    #[test]
    fn a_file_without_readable_weights_is_named() {
        let mut writer = lab_kit::weights::WeightWriter::default();
        writer.integers("ids", &[2, 2], &[1, 2, 3, 4]);
        let input = lab_kit::Input::of_asset("f", writer.finish("a test").expect("fits"));
        let mut open = pin!(TensorFile::open(input));
        let Poll::Ready(file) = open.as_mut().poll(&mut std::task::Context::from_waker(Waker::noop())) else {
            panic!("an asset never waits")
        };
        let refused = Survey::new(&file.expect("whole"), Scheme::Symmetric, Granularity::Tensor).err();
        assert!(refused.expect("refused").to_string().contains("“ids” holds U8"));
    }
}
