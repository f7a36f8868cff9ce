//! Measurements of a CUDA device as a page in Markdown.

use std::fmt::Write as _;

use serde_json::Value;

/// Tables of everything that `hgv-gpu-bench` printed, one JSON object a line. `bandwidth` is what the memory of
/// the device moves at most, in GB/s, for the floors of kernels.
pub fn tables(lines: &[Value], bandwidth: Option<f64>) -> String {
    let of = |what: &str| {
        lines
            .iter()
            .filter(|l| l["what"] == what)
            .collect::<Vec<_>>()
    };
    let mut page = String::new();
    // Writing to a string cannot fail.
    let _ = writeln!(
        page,
        "## Decode, memory to memory\n\n{}",
        decodes(&of("decode"))
    );
    let _ = writeln!(page, "## Encode from memory\n\n{}", encodes(&of("encode")));
    for (what, title) in [
        ("decode", "Kernels of a decode"),
        ("encode", "Kernels of an encode"),
    ] {
        for line in of(what) {
            let name = line["file"].as_str().unwrap_or_default();
            let preset = line["preset"].as_str().unwrap_or_default();
            let _ = writeln!(
                page,
                "### {title}: {name} {preset}\n\n{}",
                kernels(line, bandwidth)
            );
        }
    }
    page
}

fn decodes(lines: &[&Value]) -> String {
    let head = "| file | voxels | ratio | GPU Gvoxel/s | CPU Gvoxel/s | times | same voxels |\n|---|---|---|---|---|---|---|\n";
    lines.iter().fold(head.to_owned(), |mut table, l| {
        let (gpu, cpu) = (number(l, "gvoxel_s"), number(l, "cpu_gvoxel_s"));
        let _ = writeln!(
            table,
            "| {} | {} | {:.1} | {gpu:.3} | {cpu:.3} | {:.1} | {} |",
            l["file"].as_str().unwrap_or_default(),
            l["voxels"],
            number(l, "ratio"),
            gpu / cpu,
            yes(l),
        );
        table
    })
}

fn encodes(lines: &[&Value]) -> String {
    let head = "| volume | preset | GPU Mvoxel/s | CPU Mvoxel/s | times | GPU ratio | CPU ratio | GPU PSNR | CPU PSNR | two runs alike |\n|---|---|---|---|---|---|---|---|---|---|\n";
    lines.iter().fold(head.to_owned(), |mut table, l| {
        let (gpu, cpu) = (number(l, "mvoxel_s"), number(l, "cpu_mvoxel_s"));
        let _ = writeln!(
            table,
            "| {} | {} | {gpu:.1} | {} | {} | {:.2} | {} | {:.2} | {} | {} |",
            l["file"].as_str().unwrap_or_default(),
            l["preset"].as_str().unwrap_or_default(),
            or_dash(cpu, 1),
            or_dash(gpu / cpu, 1),
            number(l, "ratio"),
            or_dash(number(l, "cpu_ratio"), 2),
            number(l, "psnr"),
            or_dash(number(l, "cpu_psnr"), 2),
            yes(l),
        );
        table
    })
}

/// What each kernel took, the slowest first, beside what moving its bytes alone would take.
fn kernels(line: &Value, bandwidth: Option<f64>) -> String {
    let mut rows: Vec<&Value> = line["kernels"].as_array().into_iter().flatten().collect();
    rows.sort_by(|a, b| number(b, "milliseconds").total_cmp(&number(a, "milliseconds")));
    let all: f64 = rows.iter().map(|r| number(r, "milliseconds")).sum();
    let head = "| kernel | runs | ms | share | least bytes | floor, ms | times the floor |\n|---|---|---|---|---|---|---|\n";
    let mut table = rows.iter().fold(head.to_owned(), |mut table, row| {
        let took = number(row, "milliseconds");
        let least = number(row, "least_bytes");
        let floor = least / bandwidth.unwrap_or(f64::NAN) / 1e6;
        let _ = writeln!(
            table,
            "| `{}` | {} | {took:.3} | {:.1} % | {} | {} | {} |",
            row["kernel"].as_str().unwrap_or_default(),
            row["runs"],
            100.0 * took / all,
            or_dash(least, 0),
            or_dash(floor, 3),
            or_dash(took / floor, 1),
        );
        table
    });
    let _ = writeln!(table, "\nAll kernels: {all:.3} ms.");
    table
}

/// Not a number if it is not there.
fn number(line: &Value, key: &str) -> f64 {
    line[key].as_f64().unwrap_or(f64::NAN)
}

fn or_dash(value: f64, digits: usize) -> String {
    if value.is_finite() {
        format!("{value:.digits$}")
    } else {
        "-".into()
    }
}

fn yes(line: &Value) -> &'static str {
    if line["same"] == true { "yes" } else { "NO" }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn kernels_stand_beside_their_floors() {
        let lines = [
            json!({"what": "decode", "file": "a.hgv", "voxels": 1000, "ratio": 30.0, "gvoxel_s": 4.0,
            "cpu_gvoxel_s": 2.0, "same": true, "kernels": [
                {"kernel": "slow", "runs": 2, "milliseconds": 3.0, "least_bytes": null},
                {"kernel": "quick", "runs": 1, "milliseconds": 5.0, "least_bytes": 2e9},
            ]}),
            json!({"what": "encode", "file": "a.raw", "preset": "best", "mvoxel_s": 9.0, "ratio": 3.0,
                "psnr": 40.0, "same": false, "kernels": []}),
        ];
        let page = tables(&lines, Some(1000.0));
        assert!(
            page.contains("| a.hgv | 1000 | 30.0 | 4.000 | 2.000 | 2.0 | yes |"),
            "{page}"
        );
        let quick = "| `quick` | 1 | 5.000 | 62.5 % | 2000000000 | 2.000 | 2.5 |";
        let slow = "| `slow` | 2 | 3.000 | 37.5 % | - | - | - |";
        assert!(
            page.find(quick) < page.find(slow) && page.contains(quick),
            "{page}"
        );
        assert!(
            page.contains("| a.raw | best | 9.0 | - | - | 3.00 | - | 40.00 | - | NO |"),
            "{page}"
        );
    }
}
