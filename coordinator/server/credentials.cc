#include "coordinator/server/credentials.h"

#include <fmt/format.h>
#include <grpc/grpc.h>
#include <grpc/grpc_security.h>
#include <grpc/slice.h>
#include <openssl/pem.h>
#include <openssl/x509.h>

#include <string_view>

#include "core/base/file.h"
#include "core/base/status_macros.h"

namespace wavefield::coordinator {
namespace {

constexpr uint64_t kMaxPemBytes = 1 << 20;
constexpr char kUnauthenticated[] =
    "a valid bearer token is needed: send 'authorization: Bearer TOKEN' with a token of the "
    "coordinator's token file";

std::string_view TextOf(const grpc_slice& slice) {
  return {reinterpret_cast<const char*>(GRPC_SLICE_START_PTR(slice)), GRPC_SLICE_LENGTH(slice)};
}

struct Authenticator {
  TokenTable tokens;
  std::function<void()> refused;

  bool Accepts(const grpc_metadata* metadata, size_t count) const {
    std::string authorization;
    for (size_t i = 0; i < count; ++i) {
      const std::string_view key = TextOf(metadata[i].key);
      if (key == ":path" && TextOf(metadata[i].value).starts_with("/grpc.health.v1.Health/"))
        return true;
      if (key == "authorization") authorization = TextOf(metadata[i].value);
    }
    return tokens.Accepts(authorization);
  }

  static void Process(void* state, grpc_auth_context*, const grpc_metadata* metadata, size_t count,
                      grpc_process_auth_metadata_done_cb done, void* user_data) {
    const auto* self = static_cast<const Authenticator*>(state);
    if (self->Accepts(metadata, count)) {
      done(user_data, nullptr, 0, nullptr, 0, GRPC_STATUS_OK, nullptr);
    } else {
      self->refused();
      done(user_data, nullptr, 0, nullptr, 0, GRPC_STATUS_UNAUTHENTICATED, kUnauthenticated);
    }
  }

  static void Destroy(void* state) { delete static_cast<Authenticator*>(state); }
};

// gRPC's C++ credentials take an authenticator for TLS alone; its core takes one for either.
class PortCredentials final : public grpc::ServerCredentials {
 public:
  PortCredentials(grpc_server_credentials* credentials, std::optional<TokenTable> tokens,
                  std::function<void()> refused)
      : credentials_(credentials) {
    if (!tokens) return;
    auto* authenticator = new Authenticator{*std::move(tokens), std::move(refused)};
    grpc_server_credentials_set_auth_metadata_processor(
        credentials_, {&Authenticator::Process, &Authenticator::Destroy, authenticator});
  }
  ~PortCredentials() override { grpc_server_credentials_release(credentials_); }

  void SetAuthMetadataProcessor(const std::shared_ptr<grpc::AuthMetadataProcessor>&) override {}

 private:
  int AddPortToServer(const std::string& address, grpc_server* server) override {
    return grpc_server_add_http2_port(server, address.c_str(), credentials_);
  }

  grpc_server_credentials* credentials_;
};

absl::Status CheckPair(const TlsFiles& files, const std::string& certificate,
                       const std::string& key) {
  using Bio = std::unique_ptr<BIO, decltype(&BIO_free_all)>;
  const Bio certificate_bio(
      BIO_new_mem_buf(certificate.data(), static_cast<int>(certificate.size())), &BIO_free_all);
  const std::unique_ptr<X509, decltype(&X509_free)> x509(
      PEM_read_bio_X509(certificate_bio.get(), nullptr, nullptr, nullptr), &X509_free);
  if (x509 == nullptr) {
    return absl::InvalidArgumentError(
        fmt::format("--tls-cert: {} holds no certificate in PEM form", files.certificate));
  }
  const Bio key_bio(BIO_new_mem_buf(key.data(), static_cast<int>(key.size())), &BIO_free_all);
  const std::unique_ptr<EVP_PKEY, decltype(&EVP_PKEY_free)> pkey(
      PEM_read_bio_PrivateKey(key_bio.get(), nullptr, nullptr, nullptr), &EVP_PKEY_free);
  if (pkey == nullptr) {
    return absl::InvalidArgumentError(
        fmt::format("--tls-key: {} holds no private key in PEM form", files.key));
  }
  if (X509_check_private_key(x509.get(), pkey.get()) != 1) {
    return absl::InvalidArgumentError(fmt::format(
        "the private key {} does not belong to the certificate {}", files.key, files.certificate));
  }
  return absl::OkStatus();
}

}  // namespace

absl::StatusOr<std::shared_ptr<grpc::ServerCredentials>> MakeCredentials(
    const std::optional<TlsFiles>& tls, std::optional<TokenTable> tokens,
    std::function<void()> refused) {
  grpc_server_credentials* credentials = nullptr;
  if (tls) {
    WF_ASSIGN_OR_RETURN(const std::string certificate, ReadFile(tls->certificate, kMaxPemBytes));
    WF_ASSIGN_OR_RETURN(const std::string key, ReadFile(tls->key, kMaxPemBytes));
    WF_RETURN_IF_ERROR(CheckPair(*tls, certificate, key));
    grpc_ssl_pem_key_cert_pair pair{key.c_str(), certificate.c_str()};
    credentials = grpc_ssl_server_credentials_create_ex(
        nullptr, &pair, 1, GRPC_SSL_DONT_REQUEST_CLIENT_CERTIFICATE, nullptr);
  } else {
    credentials = grpc_insecure_server_credentials_create();
  }
  return std::make_shared<PortCredentials>(credentials, std::move(tokens), std::move(refused));
}

}  // namespace wavefield::coordinator
