#include "proto/rpc/channel.h"

#include <arpa/inet.h>
#include <grpcpp/create_channel.h>
#include <grpcpp/security/credentials.h>

#include "absl/strings/match.h"
#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "absl/time/clock.h"
#include "core/base/file.h"
#include "core/base/status_macros.h"

namespace wavefield {
namespace {

constexpr uint64_t kMaxPemBytes = 1 << 20;

// Retries of calls that are safe to repeat: reads, and mutations that carry a request id.
constexpr char kServiceConfig[] = R"({
  "methodConfig": [{
    "name": [
      {"service": "wavefield.v1.JobService", "method": "CreateJob"},
      {"service": "wavefield.v1.JobService", "method": "BatchCreateJobs"},
      {"service": "wavefield.v1.JobService", "method": "GetJob"},
      {"service": "wavefield.v1.JobService", "method": "ListJobs"},
      {"service": "wavefield.v1.JobService", "method": "UpdateJob"},
      {"service": "wavefield.v1.JobService", "method": "PauseJob"},
      {"service": "wavefield.v1.JobService", "method": "ResumeJob"},
      {"service": "wavefield.v1.JobService", "method": "DeleteJob"},
      {"service": "wavefield.v1.JobService", "method": "CancelJob"},
      {"service": "wavefield.v1.JobService", "method": "CancelJobs"},
      {"service": "wavefield.v1.JobService", "method": "ExplainJob"},
      {"service": "wavefield.v1.JobService", "method": "ListQueue"},
      {"service": "wavefield.v1.JobService", "method": "ListMetrics"},
      {"service": "wavefield.v1.JobService", "method": "ListFieldHealth"},
      {"service": "wavefield.v1.DatasetService", "method": "GetDataset"},
      {"service": "wavefield.v1.DatasetService", "method": "ListDatasets"},
      {"service": "wavefield.v1.DatasetService", "method": "InspectDataset"},
      {"service": "wavefield.v1.CheckpointService", "method": "ListCheckpoints"},
      {"service": "wavefield.v1.CheckpointService", "method": "GetCheckpoint"},
      {"service": "wavefield.v1.CheckpointService", "method": "UpdateCheckpoint"},
      {"service": "wavefield.v1.CheckpointService", "method": "DeleteCheckpoint"},
      {"service": "wavefield.v1.CheckpointService", "method": "DeleteCheckpoints"},
      {"service": "wavefield.v1.CheckpointService", "method": "CollectGarbage"},
      {"service": "wavefield.v1.CheckpointService", "method": "DiffCheckpoints"},
      {"service": "wavefield.v1.CheckpointService", "method": "GetLineage"},
      {"service": "wavefield.v1.WorkerService", "method": "ListWorkers"},
      {"service": "wavefield.v1.WorkerService", "method": "CordonWorker"},
      {"service": "wavefield.v1.WorkerService", "method": "UncordonWorker"},
      {"service": "wavefield.v1.WorkerService", "method": "DrainWorker"},
      {"service": "wavefield.v1.AuditService", "method": "ListAuditEntries"}
    ],
    "retryPolicy": {"maxAttempts": 4, "initialBackoff": "0.1s", "maxBackoff": "2s",
                    "backoffMultiplier": 2, "retryableStatusCodes": ["UNAVAILABLE"]}
  }]
})";

}  // namespace

bool IsLoopback(const std::string& address) {
  if (address.rfind("unix:", 0) == 0 || address == "::1") return true;
  const std::string host = address.substr(0, address.rfind(':'));
  in_addr parsed{};
  if (inet_pton(AF_INET, host.c_str(), &parsed) == 1) return ntohl(parsed.s_addr) >> 24 == 127;
  return host == "localhost" || host == "[::1]";
}

absl::Status CheckAddress(const std::string& address) {
  if (address.starts_with("unix:") || address.starts_with("unix-abstract:")) {
    return absl::OkStatus();
  }
  const size_t colon = address.rfind(':');
  const std::string host = address.substr(0, colon);
  int port = 0;
  const bool has_port = colon != std::string::npos &&
                        absl::SimpleAtoi(address.substr(colon + 1), &port) && port > 0 &&
                        port <= 65535;
  // "::1" is an address without a port; "[::1]:7070" has one, and so has "dns:HOST:7070".
  const bool is_bare_ipv6 =
      host.ends_with(':') || (absl::StrContains(host, "::") && !host.ends_with(']'));
  if (has_port && !host.empty() && !is_bare_ipv6) return absl::OkStatus();
  return absl::InvalidArgumentError(absl::StrCat("the coordinator's address is '", address,
                                                 "'; write HOST:PORT, such as ",
                                                 ConnectionOptions().address));
}

absl::StatusOr<Connection> Connection::Open(const ConnectionOptions& options) {
  WF_RETURN_IF_ERROR(CheckAddress(options.address));
  Connection connection;
  connection.address_ = options.address;
  if (!options.token_file.empty()) {
    if (options.ca_file.empty() && !IsLoopback(options.address)) {
      return absl::InvalidArgumentError(
          absl::StrCat("a token would be sent in the clear to ", options.address,
                       "; give the coordinator's certificate authority with --ca-file"));
    }
    WF_ASSIGN_OR_RETURN(connection.token_, TokenFile::Open(options.token_file));
  }
  if (options.client_certificate_file.empty() != options.client_key_file.empty()) {
    return absl::InvalidArgumentError(
        "--client-cert and --client-key go together: give both or none");
  }
  if (!options.client_certificate_file.empty() && options.ca_file.empty()) {
    return absl::InvalidArgumentError(
        "--client-cert is for connections with TLS: give the coordinator's certificate authority "
        "with --ca-file");
  }
  std::shared_ptr<grpc::ChannelCredentials> credentials = grpc::InsecureChannelCredentials();
  if (!options.ca_file.empty()) {
    grpc::SslCredentialsOptions ssl;
    WF_ASSIGN_OR_RETURN(ssl.pem_root_certs, ReadFile(options.ca_file, kMaxPemBytes));
    if (!absl::StrContains(ssl.pem_root_certs, "CERTIFICATE-----")) {
      return absl::InvalidArgumentError(
          absl::StrCat("--ca-file ", options.ca_file,
                       " holds no PEM certificate (-----BEGIN CERTIFICATE-----)"));
    }
    connection.tls_ = true;
    if (!options.client_certificate_file.empty()) {
      WF_ASSIGN_OR_RETURN(ssl.pem_cert_chain,
                          ReadFile(options.client_certificate_file, kMaxPemBytes));
      WF_ASSIGN_OR_RETURN(ssl.pem_private_key, ReadFile(options.client_key_file, kMaxPemBytes));
    }
    credentials = grpc::SslCredentials(ssl);
  }
  grpc::ChannelArguments arguments;
  const int keepalive = static_cast<int>(absl::ToInt64Milliseconds(kKeepaliveInterval));
  arguments.SetInt(GRPC_ARG_KEEPALIVE_TIME_MS, keepalive);
  arguments.SetInt(GRPC_ARG_KEEPALIVE_TIMEOUT_MS, 10000);
  arguments.SetInt(GRPC_ARG_KEEPALIVE_PERMIT_WITHOUT_CALLS, 1);
  arguments.SetInt(GRPC_ARG_HTTP2_MAX_PINGS_WITHOUT_DATA, 0);
  arguments.SetInt(GRPC_ARG_ENABLE_HTTP_PROXY, 0);
  arguments.SetInt(GRPC_ARG_MAX_RECONNECT_BACKOFF_MS, 2000);
  arguments.SetInt(GRPC_ARG_INITIAL_RECONNECT_BACKOFF_MS, 100);
  arguments.SetMaxReceiveMessageSize(kMaxMessageBytes);
  arguments.SetServiceConfigJSON(kServiceConfig);
  connection.channel_ = grpc::CreateCustomChannel(options.address, credentials, arguments);
  return connection;
}

void Connection::Prepare(grpc::ClientContext& context, absl::Duration timeout) const {
  if (timeout != absl::InfiniteDuration()) {
    context.set_deadline(absl::ToChronoTime(absl::Now() + timeout));
  }
  if (token_ != nullptr) context.AddMetadata("authorization", "Bearer " + token_->Current());
}

}  // namespace wavefield
