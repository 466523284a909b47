// backnorm's program protocol, version 1, for Rust. Audit with: backnorm audit --program ./norm
//
//   mod backnorm;                                         // this file, as backnorm.rs beside main.rs
//   fn main() { backnorm::serve("kind=batch sample=3,2,2 params=3", &[], |c| {
//           let (x, gamma, beta) = (c.get("x"), c.get("gamma"), c.get("beta"));   // each a Vec<f64>
//           c.put("y", "x", my_norm(x, gamma, beta));                            // shaped as x
//           if c.has("dy") { ...; c.put("dx", "x", dx); c.put("dgamma", "gamma", dgamma); c.put("dbeta", "beta", dbeta); }
//           Ok(()) }) }                                     // or Err("words".to_string()), to refuse a call
// A layer with statistics passes &[("state.mean", vec![0.0; 3])], and puts those after the call. Print with eprintln!.
use std::{collections::BTreeMap, io::{stdin, stdout, BufRead, Read, Write}};

#[allow(dead_code)]
pub struct Call { pub what: String, pub train: bool, given: BTreeMap<String, (Vec<usize>, Vec<f64>)>, answer: BTreeMap<String, (Vec<usize>, Vec<f64>)> }

#[allow(dead_code)]
impl Call {
    pub fn has(&self, name: &str) -> bool { self.given.contains_key(name) }
    pub fn get(&self, name: &str) -> Vec<f64> { self.given[name].1.clone() }
    pub fn shape(&self, name: &str) -> Vec<usize> { self.given[name].0.clone() }
    pub fn put(&mut self, name: &str, like: &str, values: Vec<f64>) {
        assert_eq!(values.len(), self.given[like].1.len(), "the number of values of {}", name);
        self.answer.insert(name.to_string(), (self.given[like].0.clone(), values));
    }
}
fn say(mut head: String, arrays: &BTreeMap<String, (Vec<usize>, Vec<f64>)>) {
    let mut bytes = Vec::new();
    for (name, (shape, values)) in arrays {
        let listed: Vec<String> = shape.iter().map(|d| d.to_string()).collect();
        head += &format!(" {}=float64[{}]", name, listed.join(","));
        for value in values { bytes.extend_from_slice(&value.to_le_bytes()); }
    }
    let mut out = stdout().lock();
    out.write_all((head + "\n").as_bytes()).and_then(|_| out.write_all(&bytes)).and_then(|_| out.flush()).unwrap_or(());
}
pub fn serve<F: FnMut(&mut Call) -> Result<(), String>>(facts: &str, state: &[(&str, Vec<f64>)], mut call: F) {
    let (mut input, mut line) = (stdin().lock(), String::new());
    let sample = format!(",{}]", facts.split("sample=").nth(1).unwrap_or("").split(' ').next().unwrap_or(""));
    while input.read_line(&mut line).unwrap_or(0) > 0 {
        let words: Vec<String> = line.split_whitespace().map(str::to_string).collect();
        let mut c = Call { what: words[0].clone(), train: words.iter().any(|w| w == "train"), given: BTreeMap::new(), answer: BTreeMap::new() };
        for word in words.iter().filter(|w| w.contains('[')) {
            let (name, place) = word.split_at(word.find('=').unwrap_or(0));
            let shape: Vec<usize> = place[place.find('[').unwrap_or(0) + 1..place.len() - 1].split(',').filter_map(|d| d.parse().ok()).collect();
            let mut bytes = vec![0u8; 8 * shape.iter().product::<usize>()];
            if input.read_exact(&mut bytes).is_err() { return }
            let values = bytes.chunks_exact(8).map(|b| { let mut raw = [0u8; 8]; raw.copy_from_slice(b); f64::from_le_bytes(raw) }).collect();
            c.given.insert(name.to_string(), (shape, values));
        }
        if c.what == "hello" {
            say(format!("ok {} dtypes=float64", facts), &state.iter().map(|(n, v)| (n.to_string(), (vec![v.len()], v.clone()))).collect());
        } else if !words.iter().any(|w| w.starts_with("x=") && w.ends_with(&sample)) {
            say("error x has samples of another shape than in hello".to_string(), &BTreeMap::new());
        } else {
            match call(&mut c) { Ok(()) => say("ok".to_string(), &c.answer), Err(words) => say(format!("error {}", words.replace('\n', " ")), &BTreeMap::new()) }
        }
        line.clear();
    }
}
