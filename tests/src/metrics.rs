//! Pages of metrics, as Prometheus reads them.

use std::fmt::Display;
use std::iter::Sum;
use std::net::SocketAddr;
use std::str::FromStr;

use anyhow::anyhow;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;

/// What a page says of a metric, summed over its series that have all of these labels, each
/// written as on the page or a part of that. A series that is absent has not counted anything
/// yet.
///
/// # Errors
/// A value is not of the wanted type.
pub fn sum<T>(page: &str, metric: &str, labels: &[&str]) -> anyhow::Result<T>
where
    T: FromStr<Err: Display> + Sum,
{
    let series = page.lines().filter_map(|line| line.rsplit_once(' '));
    series
        .filter(|(name, _)| name.split('{').next() == Some(metric))
        .filter(|(name, _)| labels.iter().all(|label| name.contains(label)))
        .map(|(name, value)| {
            value
                .parse()
                .map_err(|error| anyhow!("{name} {value}: {error}"))
        })
        .sum()
}

/// What an admin port of this machine answers to a path, head and body.
///
/// # Errors
/// No connection, or what came is no text.
pub async fn page(admin: SocketAddr, path: &str) -> anyhow::Result<String> {
    let mut stream = TcpStream::connect(admin).await?;
    let request = format!("GET {path} HTTP/1.1\r\nHost: admin\r\nConnection: close\r\n\r\n");
    stream.write_all(request.as_bytes()).await?;
    let mut answer = String::new();
    stream.read_to_string(&mut answer).await?;
    Ok(answer)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_series_of_that_very_metric_with_all_the_labels_count() {
        let page = "# HELP of Things.\nof{a=\"1\",b=\"2\"} 3\nof{a=\"1\",b=\"3\"} 4\nof_more{a=\"1\"} 5\nplain 6\n";
        let sum = |metric, labels: &[&str]| sum::<u64>(page, metric, labels).unwrap();
        assert_eq!(sum("of", &["a=\"1\""]), 7);
        assert_eq!(sum("of", &["a=\"1\"", "b=\"3\""]), 4);
        assert_eq!(sum("plain", &[]), 6);
        assert_eq!(sum("absent", &[]), 0);
    }

    #[test]
    fn a_value_of_another_type_is_told() {
        let error = sum::<u64>("seconds 0.5", "seconds", &[]).unwrap_err();
        assert!(error.to_string().contains("seconds 0.5"), "{error}");
    }
}
