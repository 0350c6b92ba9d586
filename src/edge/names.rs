//! Host names to addresses: by the system's resolver, but for a static build on a phone. musl reads `/etc/resolv.conf` alone, which
//! Android does not have; Termux keeps its own below `$PREFIX/etc` (its package `resolv-conf`). Only there are the servers of that file asked,
//! by hickory-resolver.

use std::collections::BTreeMap;
use std::io;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};

/// How names are resolved in this environment.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Names {
    System,
    /// By the servers of this `resolv.conf`.
    #[cfg(any(test, target_env = "musl"))]
    Asked(PathBuf),
}

impl Names {
    /// By the system, unless this build needs `/etc/resolv.conf`, there is none, and Termux (`$PREFIX`) has its own.
    pub(crate) fn new(env: &BTreeMap<String, String>) -> Self {
        match own_list(env, Path::new("/etc/resolv.conf")) {
            #[cfg(any(test, target_env = "musl"))]
            Some(path) => Self::Asked(path),
            _ => Self::System,
        }
    }

    /// The addresses of a host, with `port`. An address given instead of a name is returned as it is.
    ///
    /// # Errors
    /// No such name, or no answer.
    pub(crate) async fn addresses(&self, host: &str, port: u16) -> io::Result<Vec<SocketAddr>> {
        match self {
            Self::System => Ok(tokio::net::lookup_host((host, port)).await?.collect()),
            #[cfg(any(test, target_env = "musl"))]
            Self::Asked(path) => asked::addresses(asked::resolver(&std::fs::read(path)?, None)?, host, port).await,
        }
    }
}

fn own_list(env: &BTreeMap<String, String>, system: &Path) -> Option<PathBuf> {
    let own = Path::new(env.get("PREFIX").filter(|prefix| !prefix.is_empty())?).join("etc/resolv.conf");
    (!system.exists() && own.exists()).then_some(own)
}

#[cfg(target_env = "musl")]
impl reqwest::dns::Resolve for Names {
    fn resolve(&self, name: reqwest::dns::Name) -> reqwest::dns::Resolving {
        let names = self.clone();
        Box::pin(async move {
            // the client puts the port of the URL in
            let found = names.addresses(name.as_str(), 0).await?;
            Ok(Box::new(found.into_iter()) as reqwest::dns::Addrs)
        })
    }
}

#[cfg(any(test, target_env = "musl"))]
mod asked {
    use super::{SocketAddr, io};
    use hickory_resolver::TokioResolver;
    use hickory_resolver::config::{LookupIpStrategy, ResolverConfig};
    use hickory_resolver::net::runtime::TokioRuntimeProvider;
    use hickory_resolver::system_conf::parse_resolv_conf;

    /// A resolver for the text of a `resolv.conf`; `port` is another one than 53.
    pub(super) fn resolver(text: &[u8], port: Option<u16>) -> io::Result<TokioResolver> {
        let (config, mut options) = parse_resolv_conf(text).map_err(io::Error::other)?;
        let (domain, search, mut servers) = config.into_parts();
        for connection in servers.iter_mut().flat_map(|server| &mut server.connections) {
            connection.port = port.unwrap_or(connection.port);
        }
        // a network may have one kind only, a host both
        options.ip_strategy = LookupIpStrategy::Ipv6AndIpv4;
        let config = ResolverConfig::from_parts(domain, search, servers);
        let mut builder = TokioResolver::builder_with_config(config, TokioRuntimeProvider::default());
        *builder.options_mut() = options;
        builder.build().map_err(io::Error::other)
    }

    pub(super) async fn addresses(resolver: TokioResolver, host: &str, port: u16) -> io::Result<Vec<SocketAddr>> {
        let found = resolver.lookup_ip(host).await;
        // in the system's own words, which callers tell people in their own
        let found =
            found.map_err(|error| io::Error::other(format!("failed to lookup address information: {error}")))?;
        Ok(found.iter().map(|ip| SocketAddr::new(ip, port)).collect())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::net::{Ipv4Addr, Ipv6Addr};

    /// Answers `hook.example` with both kinds of address, `six.example` with IPv6 alone, and nothing else; the first question is
    /// lost, as on a network that just came up.
    async fn server(socket: tokio::net::UdpSocket) {
        let mut asked = [0; 512];
        let mut lost = false;
        loop {
            let (length, peer) = socket.recv_from(&mut asked).await.unwrap();
            if !std::mem::replace(&mut lost, true) {
                continue;
            }
            let question = &asked[12..length];
            let name_end = question.iter().position(|&byte| byte == 0).unwrap();
            let (name, kind) = (&question[..name_end], question[name_end + 2]);
            let data = match (name, kind) {
                (b"\x04hook\x07example", 1) => Some(Ipv4Addr::new(192, 0, 2, 7).octets().to_vec()),
                (b"\x04hook\x07example" | b"\x03six\x07example", 28) => {
                    Some(Ipv6Addr::new(0x2001, 0xdb8, 0, 0, 0, 0, 0, 7).octets().to_vec())
                }
                _ => None,
            };
            let known = matches!(name, b"\x04hook\x07example" | b"\x03six\x07example");
            let mut reply = asked[..2].to_vec();
            reply.extend([
                0x81,
                if known { 0x80 } else { 0x83 },
                0,
                1,
                0,
                data.is_some().into(),
                0,
                0,
                0,
                0,
            ]);
            reply.extend(&question[..name_end + 5]);
            if let Some(data) = data {
                reply.extend([
                    0xc0,
                    12,
                    0,
                    kind,
                    0,
                    1,
                    0,
                    0,
                    0,
                    60,
                    0,
                    u8::try_from(data.len()).unwrap(),
                ]);
                reply.extend(data);
            }
            socket.send_to(&reply, peer).await.unwrap();
        }
    }

    #[tokio::test]
    async fn the_servers_of_the_file_are_asked() {
        let socket = tokio::net::UdpSocket::bind("127.0.0.1:0").await.unwrap();
        let port = socket.local_addr().unwrap().port();
        let serving = tokio::spawn(server(socket));
        let text = b"# Termux\nnameserver 127.0.0.1\noptions timeout:1 attempts:3\n";
        let ask = async |host: &str| {
            let found = asked::addresses(asked::resolver(text, Some(port)).unwrap(), host, 443).await;
            found.map(|mut found| {
                found.sort();
                found.iter().map(ToString::to_string).collect::<Vec<_>>()
            })
        };
        assert_eq!(
            ask("hook.example").await.unwrap(),
            ["192.0.2.7:443", "[2001:db8::7]:443"]
        );
        assert_eq!(ask("six.example").await.unwrap(), ["[2001:db8::7]:443"]);
        assert_eq!(ask("192.0.2.9").await.unwrap(), ["192.0.2.9:443"]);
        let error = ask("none.example").await.unwrap_err().to_string();
        assert!(error.starts_with("failed to lookup address information"), "{error}");
        serving.abort();
    }

    #[test]
    fn termux_is_asked_only_where_the_system_has_no_list() {
        let dir = tempfile::tempdir().unwrap();
        let (prefix, system) = (dir.path().join("usr"), dir.path().join("resolv.conf"));
        let env = BTreeMap::from([("PREFIX".to_owned(), prefix.to_str().unwrap().to_owned())]);
        assert_eq!(own_list(&env, &system), None);
        std::fs::create_dir_all(prefix.join("etc")).unwrap();
        std::fs::write(prefix.join("etc/resolv.conf"), "nameserver 127.0.0.1\n").unwrap();
        assert_eq!(own_list(&env, &system), Some(prefix.join("etc/resolv.conf")));
        assert_eq!(own_list(&BTreeMap::new(), &system), None);
        std::fs::write(&system, "").unwrap();
        assert_eq!(own_list(&env, &system), None);
    }

    #[tokio::test]
    async fn the_system_is_asked_elsewhere() {
        let names = Names::new(&BTreeMap::new());
        assert_eq!(names, Names::System);
        let found = names.addresses("127.0.0.1", 25).await.unwrap();
        assert_eq!(found, [SocketAddr::from(([127, 0, 0, 1], 25))]);
    }
}
