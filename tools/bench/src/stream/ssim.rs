//! Structural similarity of two grey pictures.

/// Side of a window in pixels.
const WINDOW: usize = 7;

/// Luminance, 0..=255, of 8-bit red, green, blue.
pub fn luminance(rgb: &[u8]) -> Vec<f64> {
    let pixels = rgb.chunks_exact(3);
    let grey = pixels.map(|p| {
        let [r, g, b] = [p[0], p[1], p[2]].map(f64::from);
        0.299 * r + 0.587 * g + 0.114 * b
    });
    grey.collect()
}

/// Mean SSIM of two pictures `[y][x]` of 0..=255, `width` pixels wide: uniform windows of 7 x 7 that lie
/// within them, sample covariance, K1 = 0.01, K2 = 0.03. 1 for pictures smaller than a window.
pub fn ssim(a: &[f64], b: &[f64], width: usize) -> f64 {
    let height = a.len().min(b.len()) / width.max(1);
    let n = (WINDOW * WINDOW) as f64;
    let (c1, c2) = ((0.01f64 * 255.0).powi(2), (0.03f64 * 255.0).powi(2));
    let (mut total, mut windows) = (0.0, 0u32);
    for y in 0..(height + 1).saturating_sub(WINDOW) {
        for x in 0..(width + 1).saturating_sub(WINDOW) {
            let [mut sa, mut sb, mut saa, mut sbb, mut sab] = [0.0; 5];
            for row in y..y + WINDOW {
                let from = row * width + x;
                for (p, q) in a[from..from + WINDOW].iter().zip(&b[from..from + WINDOW]) {
                    sa += p;
                    sb += q;
                    saa += p * p;
                    sbb += q * q;
                    sab += p * q;
                }
            }
            let (ma, mb) = (sa / n, sb / n);
            let over = |sum: f64, means: f64| (sum - n * means) / (n - 1.0);
            let (va, vb, cov) = (over(saa, ma * ma), over(sbb, mb * mb), over(sab, ma * mb));
            total += (2.0 * ma * mb + c1) * (2.0 * cov + c2)
                / ((ma * ma + mb * mb + c1) * (va + vb + c2));
            windows += 1;
        }
    }
    if windows == 0 {
        1.0
    } else {
        total / f64::from(windows)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn known_values() {
        let a: Vec<f64> = (0..400).map(|i| f64::from(i * 37 % 256)).collect();
        assert!((ssim(&a, &a, 20) - 1.0).abs() < 1e-12);
        // Constants c and d: (2 c d + C1) / (c^2 + d^2 + C1).
        let (c, d, c1) = (100.0, 120.0, 6.5025);
        let want = (2.0 * c * d + c1) / (c * c + d * d + c1);
        let got = ssim(&[c; 400], &[d; 400], 20);
        assert!((got - want).abs() < 1e-9, "{got} {want}");
        let inverted: Vec<f64> = a.iter().map(|v| 255.0 - v).collect();
        assert!(ssim(&a, &inverted, 20) < 0.0);
    }
}
