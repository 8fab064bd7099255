#include "coordinator/server/credentials.h"

#include <grpc/grpc.h>
#include <grpc/grpc_security.h>
#include <grpc/slice.h>

#include <string_view>

#include "core/base/status_macros.h"

namespace wavefield::coordinator {
namespace {

std::string_view TextOf(const grpc_slice& slice) {
  return {reinterpret_cast<const char*>(GRPC_SLICE_START_PTR(slice)), GRPC_SLICE_LENGTH(slice)};
}

// gRPC's authentication context belongs to the connection, not to the call: nothing of the caller
// may be left there. Whoever needs the caller later asks `access` again.
struct Authenticator {
  const Access& access;
  OnRefusal refused;
  std::unique_ptr<TlsSource>
      tls;  // here, since this lives as long as the credentials of gRPC's core

  absl::Status Check(const grpc_metadata* metadata, size_t count, Refusal& call) const {
    std::string authorization;
    int authorizations = 0;
    for (size_t i = 0; i < count; ++i) {
      const std::string_view key = TextOf(metadata[i].key);
      if (key == ":path") call.path = TextOf(metadata[i].value);
      if (key != "authorization") continue;
      authorization = TextOf(metadata[i].value);
      ++authorizations;
    }
    return access.Check(call.path, authorizations == 1 ? authorization : "", call.caller);
  }

  static void Process(void* state, grpc_auth_context*, const grpc_metadata* metadata, size_t count,
                      grpc_process_auth_metadata_done_cb done, void* user_data) {
    const auto* self = static_cast<const Authenticator*>(state);
    Refusal call;
    call.status = self->Check(metadata, count, call);
    if (call.status.ok()) {
      done(user_data, nullptr, 0, nullptr, 0, GRPC_STATUS_OK, nullptr);
      return;
    }
    self->refused(call, [done, user_data, status = call.status] {
      done(user_data, nullptr, 0, nullptr, 0, static_cast<grpc_status_code>(status.code()),
           std::string(status.message()).c_str());
    });
  }

  static void Destroy(void* state) { delete static_cast<Authenticator*>(state); }
};

// gRPC's C++ credentials take an authenticator for TLS alone; its core takes one for either.
class PortCredentials final : public grpc::ServerCredentials {
 public:
  PortCredentials(std::unique_ptr<TlsSource> tls, const Access& access, OnRefusal refused)
      : credentials_(Make(tls.get())) {
    auto* authenticator = new Authenticator{access, std::move(refused), std::move(tls)};
    grpc_server_credentials_set_auth_metadata_processor(
        credentials_, {&Authenticator::Process, &Authenticator::Destroy, authenticator});
  }
  ~PortCredentials() override { grpc_server_credentials_release(credentials_); }

  void SetAuthMetadataProcessor(const std::shared_ptr<grpc::AuthMetadataProcessor>&) override {}

 private:
  static grpc_server_credentials* Make(TlsSource* tls) {
    if (tls == nullptr) return grpc_insecure_server_credentials_create();
    const auto fetch = [](void* source, grpc_ssl_server_certificate_config** config) {
      return static_cast<TlsSource*>(source)->Fetch(config);
    };
    return grpc_ssl_server_credentials_create_with_options(
        grpc_ssl_server_credentials_create_options_using_config_fetcher(
            tls->asks_clients() ? GRPC_SSL_REQUEST_AND_REQUIRE_CLIENT_CERTIFICATE_AND_VERIFY
                                : GRPC_SSL_DONT_REQUEST_CLIENT_CERTIFICATE,
            fetch, tls));
  }

  int AddPortToServer(const std::string& address, grpc_server* server) override {
    return grpc_server_add_http2_port(server, address.c_str(), credentials_);
  }

  grpc_server_credentials* const credentials_;
};

}  // namespace

absl::StatusOr<std::shared_ptr<grpc::ServerCredentials>> MakeCredentials(
    const std::optional<TlsFiles>& tls, const Access& access, OnRefusal refused) {
  std::unique_ptr<TlsSource> source;
  if (tls) {
    WF_ASSIGN_OR_RETURN(source, TlsSource::Open(*tls));
  }
  return std::make_shared<PortCredentials>(std::move(source), access, std::move(refused));
}

}  // namespace wavefield::coordinator
