#include "coordinator/server/tls_files.h"

#include <fmt/format.h>
#include <openssl/pem.h>
#include <openssl/x509.h>
#include <spdlog/spdlog.h>

#include "core/base/file.h"
#include "core/base/status_macros.h"

namespace wavefield::coordinator {
namespace {

constexpr uint64_t kMaxPemBytes = 1 << 20;

using Bio = std::unique_ptr<BIO, decltype(&BIO_free_all)>;
using Certificate = std::unique_ptr<X509, decltype(&X509_free)>;

Bio Open(const std::string& pem) {
  return {BIO_new_mem_buf(pem.data(), static_cast<int>(pem.size())), &BIO_free_all};
}

absl::StatusOr<Certificate> FirstCertificate(const char* flag, const std::string& path,
                                             const std::string& pem) {
  Certificate certificate(PEM_read_bio_X509(Open(pem).get(), nullptr, nullptr, nullptr),
                          &X509_free);
  if (certificate != nullptr) return certificate;
  return absl::InvalidArgumentError(
      fmt::format("{}: {} holds no certificate in PEM form", flag, path));
}

absl::Status CheckPair(const TlsFiles& files, const std::string& certificate,
                       const std::string& key) {
  WF_ASSIGN_OR_RETURN(const Certificate x509,
                      FirstCertificate("--tls-cert", files.certificate, certificate));
  const std::unique_ptr<EVP_PKEY, decltype(&EVP_PKEY_free)> pkey(
      PEM_read_bio_PrivateKey(Open(key).get(), nullptr, nullptr, nullptr), &EVP_PKEY_free);
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

absl::StatusOr<std::unique_ptr<TlsSource>> TlsSource::Open(const TlsFiles& files) {
  std::unique_ptr<TlsSource> source(new TlsSource(files));
  source->stamps_ = source->StampsNow();
  WF_ASSIGN_OR_RETURN(source->unseen_, source->Read());
  return source;
}

TlsSource::Stamps TlsSource::StampsNow() const {
  return {StampOf(files_.certificate), StampOf(files_.key), StampOf(files_.client_ca)};
}

absl::StatusOr<TlsSource::Contents> TlsSource::Read() const {
  Contents contents;
  WF_ASSIGN_OR_RETURN(contents.certificate, ReadFile(files_.certificate, kMaxPemBytes));
  WF_ASSIGN_OR_RETURN(contents.key, ReadFile(files_.key, kMaxPemBytes));
  WF_RETURN_IF_ERROR(CheckPair(files_, contents.certificate, contents.key));
  if (!asks_clients()) return contents;
  WF_ASSIGN_OR_RETURN(contents.client_ca, ReadFile(files_.client_ca, kMaxPemBytes));
  WF_RETURN_IF_ERROR(
      FirstCertificate("--tls-client-ca", files_.client_ca, contents.client_ca).status());
  return contents;
}

grpc_ssl_certificate_config_reload_status TlsSource::Fetch(
    grpc_ssl_server_certificate_config** config) {
  std::lock_guard lock(mutex_);
  if (const Stamps stamps = StampsNow(); stamps != stamps_) {
    stamps_ = stamps;
    absl::StatusOr<Contents> read = Read();
    if (read.ok()) {
      spdlog::info("the certificate {} was read again", files_.certificate);
      unseen_ = *std::move(read);
    } else {
      spdlog::error("the certificates stay as they were: {}", std::string(read.status().message()));
    }
  }
  if (!unseen_) return GRPC_SSL_CERTIFICATE_CONFIG_RELOAD_UNCHANGED;
  const grpc_ssl_pem_key_cert_pair pair{unseen_->key.c_str(), unseen_->certificate.c_str()};
  // gRPC wants a certificate authority even where no client is asked for a certificate.
  const std::string& authority = asks_clients() ? unseen_->client_ca : unseen_->certificate;
  *config = grpc_ssl_server_certificate_config_create(authority.c_str(), &pair, 1);
  unseen_.reset();
  return GRPC_SSL_CERTIFICATE_CONFIG_RELOAD_NEW;
}

}  // namespace wavefield::coordinator
