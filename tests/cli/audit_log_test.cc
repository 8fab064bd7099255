// `wavefield audit log`.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <nlohmann/json.hpp>

#include "tests/cli/command_runner.h"
#include "tests/cli/fake_cluster.h"

namespace wavefield {
namespace {

using nlohmann::json;
using testing::HasSubstr;
using testing::Not;

// A log of `total` entries that a coordinator hands out two at a time.
class AuditLogTest : public testing::Test {
 protected:
  explicit AuditLogTest(int64_t total = 5) {
    cluster_.list_audit_entries = [this, total](const v1::ListAuditEntriesRequest& request,
                                                v1::ListAuditEntriesResponse& response) {
      requests_.push_back(request);
      int64_t sequence = request.page_token().empty() ? total : std::stoll(request.page_token());
      for (int i = 0; i < 2 && sequence > 0; ++i, --sequence) {
        v1::AuditEntry& entry = *response.add_entries();
        entry.set_sequence(sequence);
        entry.mutable_time()->set_seconds(1'800'000'000);
        entry.set_principal("ann");
        entry.set_role("user");
        entry.set_method("JobService.CancelJob");
        entry.set_resource("jobs/tides");
        entry.set_peer("10.1.2.3");
        entry.set_result("NOT_FOUND");
        entry.set_message("there is no job 'tides'\x1b[31m " + std::string(100, 'x'));
        entry.set_request_id("request-" + std::to_string(sequence));
      }
      if (sequence > 0) response.set_next_page_token(std::to_string(sequence));
      return grpc::Status::OK;
    };
  }
  CommandResult Run(std::vector<std::string> more = {}) {
    more.insert(more.begin(), {"audit", "log"});
    return RunWavefield(cluster_.address(), more);
  }

  std::vector<v1::ListAuditEntriesRequest> requests_;
  FakeCluster cluster_;
};

TEST_F(AuditLogTest, ShowsWhoDidWhatToWhatFromWhereAndHowItEnded) {
  const CommandResult result = Run({"--filter", "principal=ann"});
  EXPECT_EQ(result.exit_code, 0) << result.err;
  for (const char* text : {"ann", "user", "JobService.CancelJob", "jobs/tides", "10.1.2.3",
                           "NOT_FOUND", "there is no job 'tides'"}) {
    EXPECT_THAT(result.out, HasSubstr(text));
  }
  EXPECT_THAT(result.out, Not(HasSubstr("\x1b"))) << "no terminal";
  EXPECT_THAT(result.out, Not(HasSubstr("request-5")));
  EXPECT_THAT(result.out, Not(HasSubstr(std::string(100, 'x'))));
  ASSERT_EQ(requests_.size(), 3u);
  for (const auto& request : requests_) EXPECT_EQ(request.filter(), "principal=ann");
}

TEST_F(AuditLogTest, WideIsEverythingThatAnEntryHas) {
  const CommandResult result = Run({"--output", "wide", "--exact"});
  EXPECT_EQ(result.exit_code, 0) << result.err;
  EXPECT_THAT(result.out, HasSubstr("request-5"));
  EXPECT_THAT(result.out, HasSubstr(std::string(100, 'x')));
  EXPECT_THAT(result.out, HasSubstr("2027-01-15T08:00:00Z"));
}

TEST_F(AuditLogTest, TheLimitHoldsOverPages) {
  const CommandResult result = Run({"--limit", "3", "--json"});
  EXPECT_EQ(result.exit_code, 0) << result.err;
  const json entries = json::parse(result.out)["entries"];
  ASSERT_EQ(entries.size(), 3u);
  EXPECT_EQ(entries[0]["sequence"], "5");
  EXPECT_EQ(entries[2]["sequence"], "3");
  EXPECT_EQ(requests_.size(), 2u);
  EXPECT_EQ(requests_[0].page_size(), 3);
}

TEST_F(AuditLogTest, ARefusalIsShownAsItIs) {
  cluster_.list_audit_entries = [](const auto&, auto&) {
    return grpc::Status(grpc::StatusCode::PERMISSION_DENIED, "that of 'ann' has role user");
  };
  const CommandResult result = Run();
  EXPECT_EQ(result.exit_code, 1);
  EXPECT_THAT(result.err, HasSubstr("that of 'ann' has role user"));
}

struct EmptyAuditLogTest : AuditLogTest {
  EmptyAuditLogTest() : AuditLogTest(0) {}
};

TEST_F(EmptyAuditLogTest, SaysSo) {
  EXPECT_THAT(Run().err, HasSubstr("Nothing was changed yet."));
  EXPECT_THAT(Run({"--filter", "role=user"}).err, HasSubstr("matches the filter"));
}

}  // namespace
}  // namespace wavefield
