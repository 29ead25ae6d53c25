//! The roofs: the best of several kernels each, every one named.

use lab_api::{DeviceKind, LabError, Report};
use lab_kit::{
    Context,
    burn::tensor::{Tensor, TensorData},
    measure::{
        IN_CACHE_BYTES, IN_MEMORY_BYTES, Work, bandwidth,
        limits::{Level, fit_levels},
        peak_gflops,
        roofs::{POLYNOMIAL_BLOCK, Pass, naive_columns, polynomial},
        samples,
    },
    mlp::read,
};

use super::summary;

/// Multiply-adds per element: operations per byte is a quarter of it.
pub(super) const STEPS: [usize; 7] = [1, 2, 4, 8, 16, 32, 64];
/// Smallest buffer of a bandwidth, in bytes; each next one is four times as large.
const SMALLEST: usize = 16 << 10;
/// Numbers of the buffer of a polynomial: 16 KiB, which the nearest cache holds.
const POLYNOMIAL: usize = 4096 / POLYNOMIAL_BLOCK * POLYNOMIAL_BLOCK;
/// Width of the product that is a candidate for the arithmetic roof, and of the one in plain loops.
const PRODUCT: usize = 256;
const NAIVE: usize = 96;
/// More bytes per second than any core moves: 64 of them in each of 6·10⁹ cycles. Beyond it the compiler has removed the work,
/// or the clock is wrong.
const ABSURD_GB_PER_S: f64 = 64.0 * 6.0;

/// A pass over memory, timed.
#[derive(Debug, Clone)]
pub(super) struct Stream {
    pub(super) pass: &'static str,
    /// Bytes of all its buffers.
    pub(super) held_bytes: usize,
    /// 10⁹ bytes per second, one for each sample.
    pub(super) gb_per_s: Vec<f64>,
}

/// What this device reached a moment ago.
#[derive(Debug, Clone)]
pub(super) struct Roofs {
    /// Multiply-adds per element and 10⁹ operations per second; none on a GPU.
    pub(super) polynomials: Vec<(usize, Vec<f64>)>,
    /// Burn's product of square matrices, 10⁹ operations per second.
    pub(super) product: Vec<f64>,
    /// The same product in three plain loops.
    pub(super) naive_gflops: Option<f64>,
    /// Passes over buffers of rising size.
    pub(super) streams: Vec<Stream>,
    /// Milliseconds that starting one operation of Burn takes.
    pub(super) launch_ms: Vec<f64>,
}

fn best(rates: &[f64]) -> f64 {
    rates.iter().copied().fold(0.0, f64::max)
}

impl Roofs {
    pub(super) async fn measure(buffer_mib: usize, cx: &Context) -> Result<Self, LabError> {
        if cx.device_info.kind != DeviceKind::Cpu {
            return Self::of_gpu(buffer_mib, cx).await;
        }
        let mut roofs = Self {
            polynomials: polynomials(cx).await?,
            product: product(cx).await?,
            naive_gflops: Some(naive(cx).await?),
            streams: Vec::new(),
            launch_ms: launch(cx).await?,
        };
        // Buffers take seconds: a reader sees the first roof meanwhile.
        cx.publish(&Report { metrics: vec![summary::peak(&roofs)], ..Report::default() })?;
        cx.progress("How fast does it move bytes?", 0.15);
        roofs.streams = streams(buffer_mib << 20, cx).await?;
        let most = roofs.streams.iter().map(|stream| best(&stream.gb_per_s)).fold(0.0, f64::max);
        if most > ABSURD_GB_PER_S {
            let why = format!(
                "{most:.0} GB/s is more than one core can move: the work was optimized away, or the clock is wrong"
            );
            return Err(LabError::Refused { why });
        }
        Ok(roofs)
    }

    /// By operations of Burn: plain Rust does not reach a GPU.
    async fn of_gpu(buffer_mib: usize, cx: &Context) -> Result<Self, LabError> {
        let mut streams = Vec::new();
        for bytes in [IN_CACHE_BYTES, IN_MEMORY_BYTES.min(buffer_mib << 20)] {
            let gb_per_s = vec![bandwidth(cx, bytes, 150.0).await?];
            streams.push(Stream { pass: Pass::Update.name(), held_bytes: 2 * bytes, gb_per_s });
        }
        Ok(Self {
            polynomials: Vec::new(),
            product: vec![peak_gflops(cx, 150.0).await?],
            naive_gflops: None,
            streams,
            launch_ms: launch(cx).await?,
        })
    }

    /// The arithmetic roof and the kernel that reached it.
    pub(super) fn arithmetic(&self) -> (String, &[f64]) {
        let own = self.own();
        let product = ("Burn's matrix product".to_owned(), self.product.as_slice());
        match own {
            Some((k, rates)) if best(rates) > best(product.1) => (format!("the polynomial of {k} steps"), rates),
            _ => product,
        }
    }

    /// The best polynomial: our own kernel in vectors of 128 bits.
    pub(super) fn own(&self) -> Option<(usize, &[f64])> {
        let best_of = |a: &&(usize, Vec<f64>), b: &&(usize, Vec<f64>)| best(&a.1).total_cmp(&best(&b.1));
        self.polynomials.iter().max_by(best_of).map(|(k, rates)| (*k, rates.as_slice()))
    }

    pub(super) fn peak_gflops(&self) -> f64 {
        best(self.arithmetic().1)
    }

    pub(super) fn own_gflops(&self) -> Option<f64> {
        self.own().map(|(_, rates)| best(rates))
    }

    /// Of the largest buffers, the pass that was fastest.
    pub(super) fn memory(&self) -> Option<&Stream> {
        let largest = self.streams.iter().map(|stream| stream.held_bytes).max()?;
        // The sum holds one buffer where the others hold two: within a factor of two is the same size.
        let large = self.streams.iter().filter(|stream| 2 * stream.held_bytes >= largest);
        large.max_by(|a, b| best(&a.gb_per_s).total_cmp(&best(&b.gb_per_s)))
    }

    pub(super) fn memory_gb_per_s(&self) -> f64 {
        self.memory().map_or(0.0, |stream| best(&stream.gb_per_s))
    }

    /// The fastest pass over buffers of any size: what the nearest cache gives.
    pub(super) fn cache_gb_per_s(&self) -> f64 {
        self.streams.iter().map(|stream| best(&stream.gb_per_s)).fold(0.0, f64::max)
    }

    /// The roof for work on this many bytes: the best rate among buffers at least as large as the largest that would still lie in
    /// the same level or one nearer.
    pub(super) fn gb_per_s_at(&self, bytes: usize) -> f64 {
        let below =
            self.streams.iter().map(|stream| stream.held_bytes).filter(|held| *held <= bytes).max().unwrap_or(0);
        let large = self.streams.iter().filter(|stream| stream.held_bytes >= below);
        large.map(|stream| best(&stream.gb_per_s)).fold(0.0, f64::max)
    }

    pub(super) fn ridge(&self) -> f64 {
        self.peak_gflops() / self.memory_gb_per_s().max(f64::MIN_POSITIVE)
    }

    /// The levels of memory that the update shows.
    pub(super) fn levels(&self) -> Vec<Level> {
        let of_update = self.streams.iter().filter(|stream| stream.pass == Pass::Update.name());
        fit_levels(
            &of_update.map(|stream| (stream.held_bytes as f64, 1e9 * best(&stream.gb_per_s))).collect::<Vec<_>>(),
        )
    }
}

async fn polynomials(cx: &Context) -> Result<Vec<(usize, Vec<f64>)>, LabError> {
    let mut found = Vec::new();
    let mut values = vec![0.5_f32; POLYNOMIAL];
    for k in STEPS {
        let work = Work { flops: (2 * k * POLYNOMIAL) as u64, bytes: (8 * POLYNOMIAL) as u64 };
        let ms = samples(cx, 40.0, async || {
            // Tends to 1: neither grows beyond bounds nor falls to numbers that processors are slow with.
            polynomial(std::hint::black_box(&mut values), k, 0.999, 1e-3);
            Ok(())
        })
        .await?;
        found.push((k, ms.iter().map(|ms| work.gflops(1e-3 * ms)).collect()));
    }
    Ok(found)
}

async fn product(cx: &Context) -> Result<Vec<f64>, LabError> {
    let values = (0..PRODUCT * PRODUCT).map(|i| (i % 13) as f32 * 1e-3).collect::<Vec<f32>>();
    let a = Tensor::<2>::from_data(TensorData::new(values, [PRODUCT, PRODUCT]), &cx.device);
    let ms = samples(cx, 120.0, async || {
        let product = std::hint::black_box(a.clone().matmul(a.clone()));
        read(product.narrow(0, 0, 1)).await.map(|row| drop(std::hint::black_box(row)))
    })
    .await?;
    let size = PRODUCT as u64;
    Ok(ms.iter().map(|ms| Work::matmul(size, size, size, 4).gflops(1e-3 * ms)).collect())
}

// ANCHOR: naive_peak
/// A rate as a first try would have it: one product in plain loops.
async fn naive(cx: &Context) -> Result<f64, LabError> {
    let weight = vec![0.5; NAIVE * NAIVE];
    let mut y = vec![0.0; NAIVE * NAIVE];
    let ms = samples(cx, 30.0, async || {
        naive_columns(std::hint::black_box(&weight), NAIVE, &weight, &mut y);
        std::hint::black_box(&y);
        Ok(())
    })
    .await?;
    let size = NAIVE as u64;
    Ok(Work::matmul(size, size, size, 4).gflops(1e-3 * lab_kit::stats::median(&ms)))
}
// ANCHOR_END: naive_peak

async fn launch(cx: &Context) -> Result<Vec<f64>, LabError> {
    const CHAIN: usize = 64;
    let one = Tensor::<2>::ones([1, 1], &cx.device);
    let ms = samples(cx, 40.0, async || {
        let mut x = one.clone();
        for _ in 0..CHAIN {
            x = x * one.clone();
        }
        read(x).await.map(|x| drop(std::hint::black_box(x)))
    })
    .await?;
    Ok(ms.iter().map(|ms| ms / CHAIN as f64).collect())
}

async fn streams(largest: usize, cx: &Context) -> Result<Vec<Stream>, LabError> {
    let mut x = buffer(largest, cx).await?;
    let y = buffer(largest, cx).await?;
    let mut found = Vec::new();
    let mut sizes: Vec<usize> =
        std::iter::successors(Some(SMALLEST), |size| Some(size * 4)).take_while(|s| *s < largest).collect();
    sizes.push(largest);
    for (i, size) in sizes.iter().enumerate() {
        cx.progress("How fast does it move bytes?", 0.15 + 0.25 * i as f64 / sizes.len() as f64);
        let count = size / size_of::<f32>();
        for pass in Pass::ALL {
            let ms = samples(cx, 40.0, async || {
                std::hint::black_box(pass.run(&mut x[..count], &y[..count]));
                Ok(())
            })
            .await?;
            let bytes = pass.bytes_per_element() * count as u64;
            let rate = |ms: &f64| Work { flops: 0, bytes }.gb_per_s(1e-3 * ms);
            found.push(Stream {
                pass: pass.name(),
                held_bytes: pass.buffers() * size,
                gb_per_s: ms.iter().map(rate).collect(),
            });
        }
    }
    Ok(found)
}

/// Numbers of so many bytes, written once, so that the memory is really there.
pub(super) async fn buffer(bytes: usize, cx: &Context) -> Result<Vec<f32>, LabError> {
    let count = bytes / size_of::<f32>();
    let mut values = Vec::new();
    values
        .try_reserve_exact(count)
        .map_err(|_| LabError::Device { why: format!("{} MiB cannot be had here; try half as much", bytes >> 20) })?;
    while values.len() < count {
        values.resize((values.len() + (1 << 20)).min(count), 1e-3);
        cx.checkpoint().await?;
    }
    Ok(values)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn stream(held_bytes: usize, gb_per_s: f64) -> Stream {
        Stream { pass: Pass::Update.name(), held_bytes, gb_per_s: vec![0.9 * gb_per_s, gb_per_s] }
    }

    fn roofs() -> Roofs {
        Roofs {
            polynomials: vec![(4, vec![30.0, 31.0]), (16, vec![17.0])],
            product: vec![58.0, 60.0],
            naive_gflops: Some(1.0),
            streams: vec![stream(1 << 15, 80.0), stream(1 << 20, 84.0), stream(1 << 24, 40.0), stream(1 << 27, 20.0)],
            launch_ms: vec![1e-3],
        }
    }

    #[test]
    fn a_roof_is_the_best_of_its_kernels() {
        let roofs = roofs();
        assert_eq!(roofs.peak_gflops(), 60.0);
        assert_eq!(roofs.own_gflops(), Some(31.0));
        assert_eq!((roofs.memory_gb_per_s(), roofs.cache_gb_per_s(), roofs.ridge()), (20.0, 84.0, 3.0));
    }

    #[test]
    fn work_is_judged_by_the_level_its_bytes_lie_in() {
        let roofs = roofs();
        // Below the smallest buffer, and between two sizes, the nearer level bounds.
        assert_eq!(roofs.gb_per_s_at(100), 84.0);
        assert_eq!(roofs.gb_per_s_at(1 << 22), 84.0);
        assert_eq!(roofs.gb_per_s_at(1 << 25), 40.0);
        assert_eq!(roofs.gb_per_s_at(1 << 28), 20.0);
        assert_eq!(roofs.levels().len(), 3);
    }
}
