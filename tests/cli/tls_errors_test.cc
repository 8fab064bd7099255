// What people are told when they and the coordinator do not agree on TLS.
#include <gmock/gmock.h>
#include <grpcpp/security/server_credentials.h>
#include <grpcpp/server_builder.h>
#include <gtest/gtest.h>

#include "tests/cli/command_runner.h"
#include "tests/cli/fake_cluster.h"

namespace wavefield {
namespace {

using testing::HasSubstr;
using testing::Not;

// Of "localhost", for this test alone; valid for a hundred years.
constexpr char kKey[] = R"(-----BEGIN PRIVATE KEY-----
MIGHAgEAMBMGByqGSM49AgEGCCqGSM49AwEHBG0wawIBAQQgM1zuR7Qy975NLtA7
3uwr2oBFhHWoHbLc4IVC+9Cy7X2hRANCAARI7Il5IRtn8ugn5z41Wpg41BmgT8Zz
BdgwKhEf9Iu/Jmt93SbC9acT2WOCZU3tCCMDAMOITR/UD0Zrbs7IbhMW
-----END PRIVATE KEY-----
)";
constexpr char kCertificate[] = R"(-----BEGIN CERTIFICATE-----
MIIBlDCCATugAwIBAgIUEEvF8ElqvL7OTJCxem+elAx1TlEwCgYIKoZIzj0EAwIw
FDESMBAGA1UEAwwJbG9jYWxob3N0MCAXDTI2MTEyMjE3NTU1NloYDzIxMjYxMDI5
MTc1NTU2WjAUMRIwEAYDVQQDDAlsb2NhbGhvc3QwWTATBgcqhkjOPQIBBggqhkjO
PQMBBwNCAARI7Il5IRtn8ugn5z41Wpg41BmgT8ZzBdgwKhEf9Iu/Jmt93SbC9acT
2WOCZU3tCCMDAMOITR/UD0Zrbs7IbhMWo2kwZzAdBgNVHQ4EFgQUqdDvwrWVxEuK
Kvndl9K2cVJPHOQwHwYDVR0jBBgwFoAUqdDvwrWVxEuKKvndl9K2cVJPHOQwDwYD
VR0TAQH/BAUwAwEB/zAUBgNVHREEDTALgglsb2NhbGhvc3QwCgYIKoZIzj0EAwID
RwAwRAIgQ2VIxa0qu+cxRIBll1J/A1BZwYhm5D/lqKcdIU/PzJYCICHYfbxQre1h
hoxPJt/UJQ23/fCWfaqSjPz/NJ+VocqD
-----END CERTIFICATE-----
)";

class TlsErrorsTest : public testing::Test {
 protected:
  static CommandResult Jobs(const std::string& address, std::vector<std::string> flags) {
    flags.insert(flags.begin(), {"jobs", "--timeout", "10"});
    return RunWavefield(address, std::move(flags));
  }

  TemporaryDirectory directory_;
  const std::string certificate_ = directory_.Write("ca.pem", kCertificate);
};

TEST_F(TlsErrorsTest, ACoordinatorWithTlsNeedsTheFlag) {
  v1::JobService::Service service;
  grpc::SslServerCredentialsOptions options;
  options.pem_key_cert_pairs.push_back({kKey, kCertificate});
  int port = 0;
  grpc::ServerBuilder builder;
  builder.AddListeningPort("127.0.0.1:0", grpc::SslServerCredentials(options), &port);
  builder.RegisterService(&service);
  const std::unique_ptr<grpc::Server> server = builder.BuildAndStart();
  ASSERT_NE(server, nullptr);
  const CommandResult clear = Jobs("localhost:" + std::to_string(port), {});
  EXPECT_EQ(clear.exit_code, 4);
  EXPECT_THAT(clear.err, HasSubstr("certificate authority with --ca-file"));
  EXPECT_THAT(clear.err, Not(HasSubstr("wavefield up")));
  const CommandResult other =
      Jobs("127.0.0.1:" + std::to_string(port), {"--ca-file", certificate_});
  EXPECT_EQ(other.exit_code, 4);
  EXPECT_THAT(other.err, HasSubstr("not with TLS that --ca-file vouches for"));
  server->Shutdown();
}

TEST_F(TlsErrorsTest, ACoordinatorWithoutTlsTakesNoAuthority) {
  const FakeCluster cluster;
  const CommandResult result = Jobs(cluster.address(), {"--ca-file", certificate_});
  EXPECT_EQ(result.exit_code, 4);
  EXPECT_THAT(result.err, HasSubstr("leave --ca-file out"));
  EXPECT_THAT(result.err, Not(HasSubstr("wavefield up")));
}

TEST_F(TlsErrorsTest, AnAuthorityThatIsNoneIsNamed) {
  for (const char* text : {"", "garbage", kKey}) {
    const std::string file = directory_.Write("other.pem", text);
    const CommandResult result = Jobs("127.0.0.1:1", {"--ca-file", file});
    EXPECT_EQ(result.exit_code, 2) << text;
    EXPECT_THAT(result.err, HasSubstr(file + " holds no PEM certificate")) << text;
  }
}

TEST_F(TlsErrorsTest, WhereNobodyAnswersNothingIsSaidOfTls) {
  std::string gone;
  { gone = FakeCluster().address(); }
  const CommandResult result = Jobs(gone, {});
  EXPECT_EQ(result.exit_code, 4);
  EXPECT_THAT(result.err, HasSubstr("wavefield up"));
  EXPECT_THAT(result.err, Not(HasSubstr("TLS")));
}

}  // namespace
}  // namespace wavefield
