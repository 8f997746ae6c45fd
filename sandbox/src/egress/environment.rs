//! The environment variables by which the programs of a run find its proxy.

/// Port of the proxy on the loopback of every run that has one.
pub const PROXY_PORT: u16 = 3128;

/// What a run's own loopback serves is reached without the proxy.
const DIRECT: &str = "localhost,127.0.0.1,::1";

/// The variables that steps get when their run has a proxy; the spec can set each of them otherwise.
///
/// Both cases are set, because curl, apt and git read lower case only for `http_proxy`, and some programs upper case
/// only. `all_proxy` is HTTP, too: with a SOCKS URL Python's httpx and requests fail at start unless an extra package is
/// installed. A program that wants SOCKS finds it at the same port (`socks5h://127.0.0.1:3128`). cargo, pip, npm, go, git
/// and curl read these; Node's own `fetch` needs to be told to, and Java reads properties of its own.
pub fn proxy_environment() -> Vec<(&'static str, String)> {
    let url = format!("http://127.0.0.1:{PROXY_PORT}");
    let mut variables: Vec<(&'static str, String)> =
        ["http_proxy", "HTTP_PROXY", "https_proxy", "HTTPS_PROXY", "all_proxy", "ALL_PROXY"]
            .map(|name| (name, url.clone()))
            .into();
    variables.extend(["no_proxy", "NO_PROXY"].map(|name| (name, DIRECT.to_owned())));
    variables.push(("NODE_USE_ENV_PROXY", "1".to_owned()));
    let java = ["http", "https"]
        .map(|scheme| format!("-D{scheme}.proxyHost=127.0.0.1 -D{scheme}.proxyPort={PROXY_PORT}"))
        .join(" ");
    variables.push(("JAVA_TOOL_OPTIONS", format!("{java} -Dhttp.nonProxyHosts=localhost|127.*|[::1]")));
    variables
}
