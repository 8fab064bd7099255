// How a coordinator starts, whom it lets in, and what it says when it cannot start.
#include <gmock/gmock.h>
#include <grpcpp/grpcpp.h>
#include <gtest/gtest.h>
#include <openssl/evp.h>
#include <openssl/pem.h>
#include <openssl/x509v3.h>

#include <cstdio>

#include "coordinator/server/start_checks.h"
#include "coordinator/store/sqlite_store.h"
#include "core/base/file.h"
#include "tests/coordinator/generic_call.h"
#include "tests/coordinator/server_fixture.h"

namespace wavefield::coordinator {
namespace {

using testing::HasSubstr;

constexpr char kToken[] = "0123456789abcdef0123456789abcdef";

std::string MessageOf(const absl::Status& status) { return std::string(status.message()); }

// A self-signed certificate for localhost, and its key.
void MakeCertificate(const std::string& certificate_path, const std::string& key_path) {
  EVP_PKEY* key = EVP_EC_gen("P-256");
  X509* certificate = X509_new();
  X509_set_version(certificate, 2);
  ASN1_INTEGER_set(X509_get_serialNumber(certificate), 1);
  X509_gmtime_adj(X509_getm_notBefore(certificate), 0);
  X509_gmtime_adj(X509_getm_notAfter(certificate), 3600);
  X509_set_pubkey(certificate, key);
  X509_NAME* name = X509_get_subject_name(certificate);
  X509_NAME_add_entry_by_txt(name, "CN", MBSTRING_ASC,
                             reinterpret_cast<const unsigned char*>("localhost"), -1, -1, 0);
  X509_set_issuer_name(certificate, name);
  X509_EXTENSION* names =
      X509V3_EXT_conf_nid(nullptr, nullptr, NID_subject_alt_name, "DNS:localhost");
  X509_add_ext(certificate, names, -1);
  X509_sign(certificate, key, EVP_sha256());
  FILE* file = std::fopen(certificate_path.c_str(), "w");
  PEM_write_X509(file, certificate);
  std::fclose(file);
  file = std::fopen(key_path.c_str(), "w");
  PEM_write_PrivateKey(file, key, nullptr, nullptr, 0, nullptr, nullptr);
  std::fclose(file);
  X509_EXTENSION_free(names);
  X509_free(certificate);
  EVP_PKEY_free(key);
}

class Start : public testing::Test {
 protected:
  void SetUp() override {
    options_.data_dir = directory_.path() / "data";
    options_.listen = "127.0.0.1:0";
    options_.http_listen = "127.0.0.1:0";
  }

  absl::Status StartStatus() { return Server::Start(options_).status(); }

  std::string Write(const std::string& name, const std::string& text) {
    const std::filesystem::path path = directory_.path() / name;
    EXPECT_TRUE(WriteFileAtomically(path, text).ok());
    return path.string();
  }

  TemporaryDirectory directory_;
  ServerOptions options_;
};

TEST_F(Start, ATakenPortIsNamed) {
  const auto first = Server::Start(options_);
  ASSERT_TRUE(first.ok()) << first.status();
  options_.data_dir = directory_.path() / "other";
  options_.listen = (*first)->address();
  const absl::Status status = StartStatus();
  EXPECT_TRUE(absl::IsUnavailable(status));
  EXPECT_THAT(MessageOf(status), HasSubstr((*first)->address()));
  EXPECT_THAT(MessageOf(status), HasSubstr("in use"));
}

TEST_F(Start, ATakenHttpPortIsNamed) {
  const auto first = Server::Start(options_);
  ASSERT_TRUE(first.ok()) << first.status();
  options_.data_dir = directory_.path() / "other";
  options_.http_listen = "127.0.0.1:" + std::to_string((*first)->http_port());
  const absl::Status status = StartStatus();
  EXPECT_TRUE(absl::IsUnavailable(status));
  EXPECT_THAT(MessageOf(status), HasSubstr("--http-listen"));
}

TEST_F(Start, ASecondCoordinatorOnTheDataDirectoryIsRefused) {
  const auto first = Server::Start(options_);
  ASSERT_TRUE(first.ok()) << first.status();
  const absl::Status status = StartStatus();
  EXPECT_TRUE(absl::IsFailedPrecondition(status));
  EXPECT_THAT(MessageOf(status), HasSubstr("in use by another coordinator"));
  EXPECT_THAT(MessageOf(status), HasSubstr(options_.data_dir.string()));
}

TEST_F(Start, AStoreOfANewerVersionIsRefused) {
  ASSERT_TRUE(CreateDirectories(options_.data_dir).ok());
  {
    auto connection = SqliteConnection::Open(options_.data_dir / "coordinator.db");
    ASSERT_TRUE((*connection)->Execute("PRAGMA user_version = 99").ok());
  }
  EXPECT_THAT(MessageOf(StartStatus()), HasSubstr("newer wavefield-coordinator"));
}

TEST_F(Start, OtherMachinesAreServedOnlyWithTlsAndTokensOrSaidAloud) {
  options_.listen = "0.0.0.0:0";
  const absl::Status status = StartStatus();
  EXPECT_TRUE(absl::IsInvalidArgument(status));
  EXPECT_THAT(MessageOf(status), HasSubstr("--insecure"));
  options_.token_file = Write("tokens", std::string(kToken) + "\n");
  EXPECT_TRUE(absl::IsInvalidArgument(StartStatus())) << "tokens in the clear";
  options_.insecure = true;
  EXPECT_TRUE(StartStatus().ok());
}

TEST_F(Start, TlsFilesThatDoNotServeAreNamed) {
  options_.tls_certificate = (directory_.path() / "none.pem").string();
  EXPECT_THAT(MessageOf(StartStatus()), HasSubstr("go together"));
  options_.tls_key = options_.tls_certificate;
  EXPECT_THAT(MessageOf(StartStatus()), HasSubstr("none.pem"));
  options_.tls_certificate = Write("garbage.pem", "garbage");
  options_.tls_key = options_.tls_certificate;
  EXPECT_THAT(MessageOf(StartStatus()), HasSubstr("garbage.pem holds no certificate"));
  const std::string certificate = (directory_.path() / "a.pem").string();
  const std::string other = (directory_.path() / "b.pem").string();
  MakeCertificate(certificate, (directory_.path() / "a.key").string());
  MakeCertificate(other, (directory_.path() / "b.key").string());
  options_.tls_certificate = certificate;
  options_.tls_key = (directory_.path() / "b.key").string();
  EXPECT_THAT(MessageOf(StartStatus()), HasSubstr("does not belong to the certificate"));
}

TEST_F(Start, AddressesAndTimesThatMakeNoSenseAreRefused) {
  for (const char* address :
       {"", "localhost", "localhost:", ":7070", "localhost:70000", "localhost:x"}) {
    options_.listen = address;
    EXPECT_THAT(MessageOf(StartStatus()), HasSubstr("must be HOST:PORT")) << address;
  }
  options_.listen = "127.0.0.1:0";
  options_.lease = absl::Seconds(1);
  options_.heartbeat = absl::Seconds(1);
  EXPECT_THAT(MessageOf(StartStatus()), HasSubstr("two heartbeats"));
}

TEST_F(Start, TheProbeIsKept) {
  const auto probe = [&] { return ReadFile(options_.data_dir / "storage/probe").value(); };
  ASSERT_TRUE(StartStatus().ok());
  const std::string first = probe();
  EXPECT_GE(first.size(), 32u);
  ASSERT_TRUE(StartStatus().ok());
  EXPECT_EQ(probe(), first);
}

// With and without TLS: every method, reflection too, needs a token; health does not.
class Authentication : public Start, public testing::WithParamInterface<bool> {};

TEST_P(Authentication, EveryCallNeedsAToken) {
  options_.token_file = Write("tokens", std::string("ann ") + kToken + "\n");
  std::shared_ptr<grpc::ChannelCredentials> credentials = grpc::InsecureChannelCredentials();
  if (GetParam()) {
    options_.tls_certificate = (directory_.path() / "a.pem").string();
    options_.tls_key = (directory_.path() / "a.key").string();
    MakeCertificate(options_.tls_certificate, options_.tls_key);
    grpc::SslCredentialsOptions ssl;
    ssl.pem_root_certs = ReadFile(options_.tls_certificate).value();
    credentials = grpc::SslCredentials(ssl);
  }
  const auto server = Server::Start(options_);
  ASSERT_TRUE(server.ok()) << server.status();
  const std::string port = (*server)->address().substr((*server)->address().rfind(':'));
  grpc::ChannelArguments arguments;
  arguments.SetInt(GRPC_ARG_USE_LOCAL_SUBCHANNEL_POOL, 1);
  const auto channel = grpc::CreateCustomChannel("localhost" + port, credentials, arguments);

  std::vector<std::string> paths;
  for (const char* service :
       {"JobService", "CheckpointService", "DatasetService", "WorkerService", "InferenceService"}) {
    const auto* descriptor = google::protobuf::DescriptorPool::generated_pool()->FindServiceByName(
        std::string("wavefield.v1.") + service);
    ASSERT_NE(descriptor, nullptr);
    for (int i = 0; i < descriptor->method_count(); ++i) {
      paths.push_back("/" + descriptor->full_name() + "/" + descriptor->method(i)->name());
    }
  }
  EXPECT_GT(paths.size(), 15u);
  paths.push_back("/grpc.reflection.v1alpha.ServerReflection/ServerReflectionInfo");
  paths.push_back("/no.such.Service/Method");
  const std::string right = std::string("Bearer ") + kToken;
  for (const std::string& path : paths) {
    for (const std::string& wrong :
         {std::string(), std::string("Bearer nonsense"), std::string(kToken), right + "0"}) {
      EXPECT_EQ(CallByPath(channel, path, wrong).error_code(), grpc::StatusCode::UNAUTHENTICATED)
          << path << " with '" << wrong << "'";
    }
  }
  const grpc::Status allowed = CallByPath(channel, "/wavefield.v1.JobService/ListJobs", right);
  EXPECT_TRUE(allowed.ok()) << allowed.error_message();
  EXPECT_NE(CallByPath(channel, "/wavefield.v1.JobService/GetJob", right).error_code(),
            grpc::StatusCode::UNAUTHENTICATED);
  EXPECT_TRUE(CallByPath(channel, "/grpc.health.v1.Health/Check", "").ok()) << "health is open";
}

INSTANTIATE_TEST_SUITE_P(Transport, Authentication, testing::Values(false, true),
                         [](const auto& info) { return info.param ? "Tls" : "Plain"; });

}  // namespace
}  // namespace wavefield::coordinator
