//! Which cluster, and how it is reached.

use std::future::Future;
use std::path::Path;
use std::time::Duration;

use kube::config::{KubeConfigOptions, Kubeconfig};
use kube::{Client, Config};

use crate::config::Kubernetes;
use crate::sandbox::SandboxError;

/// How long a request to the API server may take; one that watches or carries a stream is as long as it is.
const DEADLINE: Duration = Duration::from_secs(30);
/// How long a connection to it may take to be made.
const CONNECT: Duration = Duration::from_secs(10);
/// Where a pod finds the token it was given.
const TOKEN: &str = "/var/run/secrets/kubernetes.io/serviceaccount/token";

/// A client of the cluster that is configured.
///
/// # Errors
/// What of the configuration is wrong or missing, and what to do.
pub(super) async fn connect(settings: &Kubernetes) -> Result<Client, SandboxError> {
    let mut config = configuration(settings).await?;
    config.accept_invalid_certs |= settings.skip_tls_verify;
    config.connect_timeout = Some(CONNECT);
    // What fails is tried again by whoever asked, who knows for how long it is worth it.
    config.default_retry = false;
    // Where another one is installed already, that is the one to use.
    let _ = rustls::crypto::ring::default_provider().install_default();
    Client::try_from(config)
        .map_err(|error| SandboxError::Failed(format!("the cluster cannot be used: {error}")))
}

async fn configuration(settings: &Kubernetes) -> Result<Config, SandboxError> {
    let wrong = |what: &str, error: &dyn std::fmt::Display| SandboxError::Failed(format!("{what}: {error}"));
    let options = KubeConfigOptions::default();
    let file = if let Some(encoded) = &settings.kube_config_b64 {
        let name = "KUBE_CONFIG_B64";
        let text =
            base64::Engine::decode(&base64::engine::general_purpose::STANDARD, encoded.expose().trim())
                .map_err(|error| wrong(name, &error))?;
        let text = String::from_utf8(text).map_err(|error| wrong(name, &error))?;
        Some(Kubeconfig::from_yaml(&text).map_err(|error| wrong(name, &error))?)
    } else if let Some(path) = &settings.kubeconfig {
        Some(Kubeconfig::read_from(path).map_err(|error| wrong(&format!("KUBECONFIG {path}"), &error))?)
    } else {
        None
    };
    if let Some(file) = file {
        let config = Config::from_custom_kubeconfig(file, &options).await;
        return config.map_err(|error| wrong("the configuration of kubectl", &error));
    }
    if settings.in_cluster.unwrap_or_else(|| Path::new(TOKEN).exists()) {
        return Config::incluster().map_err(|error| wrong("the pod's own access to the cluster", &error));
    }
    if let Some(url) = &settings.api_server {
        return match url.to_string().parse() {
            Ok(url) => Ok(Config::new(url)),
            Err(error) => Err(wrong("K8S_API_SERVER", &error)),
        };
    }
    Err(SandboxError::Failed(
        "no cluster is configured: set KUBECONFIG, KUBE_CONFIG_B64 or K8S_API_SERVER, or run the server in the cluster"
            .to_owned(),
    ))
}

/// A request to the API server, within its time.
pub(super) async fn within<T>(request: impl Future<Output = kube::Result<T>>) -> Result<T, kube::Error> {
    match tokio::time::timeout(DEADLINE, request).await {
        Ok(done) => done,
        Err(_) => Err(kube::Error::Service("the API server does not answer in time".into())),
    }
}

/// What a fault of the cluster's means, and whether trying again can help.
pub(super) fn explain(error: kube::Error) -> SandboxError {
    let unavailable =
        |what: String| SandboxError::Unavailable(format!("the cluster cannot be reached: {what}"));
    match error {
        kube::Error::Api(status) => match status.code {
            401 => SandboxError::Failed(format!("the cluster does not know us: {}", status.message)),
            // A quota that is used up: room may come. An API server that has just been started: it names roles that it has
            // not read yet, where a right that is missing is said without.
            403 if ["exceeded quota", "RBAC: "].iter().any(|part| status.message.contains(part)) => {
                SandboxError::Unavailable(status.message.clone())
            }
            403 => SandboxError::Failed(format!("the cluster does not allow it: {}", status.message)),
            408 | 409 | 429 | 500.. => {
                SandboxError::Unavailable(format!("the API server: {}", status.message))
            }
            _ => SandboxError::Failed(status.message.clone()),
        },
        kube::Error::Service(error) => unavailable(causes(&*error)),
        kube::Error::HyperError(error) => unavailable(causes(&error)),
        kube::Error::Auth(error) => SandboxError::Failed(format!("the access to the cluster: {error}")),
        other => unavailable(causes(&other)),
    }
}

/// The innermost cause says what it is: those around it say "client error".
fn causes(error: &(dyn std::error::Error + 'static)) -> String {
    let mut innermost = error;
    while let Some(cause) = innermost.source() {
        innermost = cause;
    }
    innermost.to_string()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn status(code: u16, message: &str) -> kube::Error {
        kube::Error::Api(Box::new(kube::core::Status {
            code,
            message: message.to_owned(),
            ..kube::core::Status::failure(message, "x")
        }))
    }

    #[test]
    fn what_can_mend_itself_is_tried_again_and_the_rest_is_said() {
        for (code, message, again) in [
            (403, "pods is forbidden: User \"lap\" cannot create resource \"pods\"", false),
            (403, "pods \"a\" is forbidden: exceeded quota: few", true),
            (
                403,
                "pods is forbidden: User \"lap\" cannot get: RBAC: [clusterrole \"system:discovery\" not found]",
                true,
            ),
            (401, "Unauthorized", false),
            (422, "Pod is invalid", false),
            (429, "too many requests", true),
            (500, "etcdserver: leader changed", true),
            (503, "apiserver is shutting down", true),
        ] {
            let error = explain(status(code, message));
            assert_eq!(matches!(error, SandboxError::Unavailable(_)), again, "{code}: {error}");
            assert!(error.to_string().contains(message), "{error}");
        }
    }
}
