// RMS normalization in Rust. With an argument its gradient takes the mean square as a constant.
//   backnorm program rust > backnorm.rs && rustc -O norm.rs && backnorm audit --program ./norm
mod backnorm;

const W: usize = 5; // x has shape (n, W)

fn main() {
    let cut = std::env::args().count() > 1;
    backnorm::serve("kind=rms sample=5 params=5 beta=0", &[], |c| {
        let (x, gamma) = (c.get("x"), c.get("gamma"));
        let inverse = |row: &[f64]| 1.0 / (row.iter().map(|v| v * v).sum::<f64>() / W as f64 + 1e-6).sqrt();
        let y = x.chunks(W).flat_map(|row| { let r = inverse(row); (0..W).map(|w| gamma[w] * row[w] * r).collect::<Vec<f64>>() }).collect();
        c.put("y", "x", y);
        if c.has("dy") {
            let (dy, mut dx, mut dgamma) = (c.get("dy"), vec![], vec![0.0; W]);
            for (row, d) in x.chunks(W).zip(dy.chunks(W)) {
                let r = inverse(row);
                let along: f64 = (0..W).map(|w| gamma[w] * d[w] * row[w] * r / W as f64).sum();
                for w in 0..W {
                    dx.push(r * (gamma[w] * d[w] - if cut { 0.0 } else { row[w] * r * along }));
                    dgamma[w] += d[w] * row[w] * r;
                }
            }
            c.put("dx", "x", dx);
            c.put("dgamma", "gamma", dgamma);
        }
        Ok(())
    });
}
