//! How far one picture is from another.

/// Side of a window in pixels.
const WINDOW: usize = 7;
const C1: f64 = (0.01 * 255.0) * (0.01 * 255.0);
const C2: f64 = (0.03 * 255.0) * (0.03 * 255.0);

/// SSIM of two pictures of 8 bits, `[y][x][channel]` of three channels: the mean over all windows of 7 x 7
/// pixels with equal weights and over the channels; pictures of less than 7 pixels along a side have one
/// window. `None` if the bytes are not those of pictures of `size`, width and height.
///
/// Costs 1 operation for each pixel of each window and needs no memory.
pub fn picture_ssim(a: &[u8], b: &[u8], size: [u32; 2]) -> Option<f64> {
    let [width, height] = size.map(|n| n as usize);
    let bytes = width.checked_mul(height)?.checked_mul(3)?;
    if bytes == 0 || a.len() != bytes || b.len() != bytes {
        return None;
    }
    let [w, h] = [width, height].map(|n| n.min(WINDOW));
    let mut sum = 0.0;
    for y in 0..=height - h {
        for x in 0..=width - w {
            for channel in 0..3 {
                let first = (y * width + x) * 3 + channel;
                let at = |i: usize| first + (i / w * width + i % w) * 3;
                sum += window((0..w * h).map(|i| (a[at(i)], b[at(i)])));
            }
        }
    }
    Some(sum / (3 * (height - h + 1) * (width - w + 1)) as f64)
}

/// SSIM of one window.
fn window(pairs: impl ExactSizeIterator<Item = (u8, u8)>) -> f64 {
    let n = pairs.len() as f64;
    let mut sums = [0u32; 5];
    for (a, b) in pairs {
        let (a, b) = (u32::from(a), u32::from(b));
        let terms = [a, b, a * a, b * b, a * b];
        sums.iter_mut().zip(terms).for_each(|(s, t)| *s += t);
    }
    let [a, b, aa, bb, ab] = sums.map(|s| f64::from(s) / n);
    let (va, vb, cov) = (aa - a * a, bb - b * b, ab - a * b);
    (2.0 * a * b + C1) * (2.0 * cov + C2) / ((a * a + b * b + C1) * (va + vb + C2))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn it_is_one_for_equals_and_falls_with_noise() {
        let size = [40, 30];
        let a: Vec<u8> = (0..40 * 30 * 3).map(|i| (i / 3 * 7 % 200) as u8).collect();
        let noisy = |most: u32| -> Vec<u8> {
            let noise = (0..).map(|i: u32| i.wrapping_mul(2_654_435_761) >> 16);
            a.iter()
                .zip(noise)
                .map(|(a, n)| a + (n % (most + 1)) as u8)
                .collect()
        };
        let ssim = |b: &[u8]| picture_ssim(&a, b, size).unwrap();
        assert!((ssim(&a) - 1.0).abs() < 1e-12);
        let (little, much) = (ssim(&noisy(5)), ssim(&noisy(50)));
        assert!(
            1.0 > little && little > much && much > 0.0,
            "{little} {much}"
        );
        assert_eq!(picture_ssim(&a, &a[1..], size), None);
        assert_eq!(picture_ssim(&[], &[], [0, 9]), None);
        // Two flat pictures: by hand.
        let flat = |v: u8| vec![v; 27];
        let found = picture_ssim(&flat(100), &flat(110), [3, 3]).unwrap();
        let expected = (2.0 * 100.0 * 110.0 + C1) / (100.0 * 100.0 + 110.0 * 110.0 + C1);
        assert!((found - expected).abs() < 1e-12);
    }
}
