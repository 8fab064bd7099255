// Who may call what: every method of the API with every kind of credential, and tokens that change
// while the server runs.
#include <gmock/gmock.h>
#include <google/protobuf/descriptor.h>
#include <gtest/gtest.h>

#include <thread>

#include "coordinator/server/permissions.h"
#include "core/base/file.h"
#include "tests/coordinator/generic_call.h"
#include "tests/coordinator/server_fixture.h"

namespace wavefield::coordinator {
namespace {

using testing::HasSubstr;
using testing::Not;

constexpr Role kRoles[] = {Role::kViewer, Role::kUser, Role::kWorker, Role::kAdmin};

// Of every service in the API's folder: "/wavefield.v1.JobService/CreateJob".
std::vector<std::string> MethodsOfTheApi() {
  std::vector<std::string> paths;
  for (const auto& entry : std::filesystem::directory_iterator(WAVEFIELD_PROTO_FOLDER)) {
    if (entry.path().extension() != ".proto") continue;
    const std::string name = "wavefield/v1/" + entry.path().filename().string();
    const auto* file = google::protobuf::DescriptorPool::generated_pool()->FindFileByName(name);
    if (file == nullptr) {
      ADD_FAILURE() << name << " is no part of the server";
      continue;
    }
    for (int s = 0; s < file->service_count(); ++s) {
      const auto* service = file->service(s);
      for (int m = 0; m < service->method_count(); ++m) {
        paths.push_back("/" + service->full_name() + "/" + service->method(m)->name());
      }
    }
  }
  return paths;
}

std::string TokenOf(Role role) {
  return std::string("token-of-the-") + NameOf(role) + "-0123456789";
}

class Tokens : public ServerFixture {
 protected:
  void SetUp() override {
    token_file_ = (directory_.path() / "tokens").string();
    options_.token_file = token_file_;
    WriteTokens("old token-that-has-expired-0123456789 expires=2001-02-03T04:05:06Z\n" +
                Everybody());
    ServerFixture::SetUp();
  }

  static std::string Everybody() {
    std::string lines;
    for (const Role role : kRoles) {
      lines +=
          std::string("the-") + NameOf(role) + " " + TokenOf(role) + " role=" + NameOf(role) + "\n";
    }
    return lines;
  }

  void WriteTokens(const std::string& lines) {
    ASSERT_TRUE(WriteFileAtomically(token_file_, lines).ok());
  }

  grpc::Status CallAs(Role role, const std::string& path) {
    return CallByPath(channel_, path, "Bearer " + TokenOf(role), 1);
  }
  bool Accepts(const std::string& token) {
    return CallByPath(channel_, "/wavefield.v1.JobService/ListJobs", "Bearer " + token).ok();
  }

  std::string token_file_;
};

TEST(Permissions, EveryMethodOfTheApiIsInTheTable) {
  const std::vector<std::string> paths = MethodsOfTheApi();
  EXPECT_GT(paths.size(), 40u);
  for (const std::string& path : paths) {
    const MethodRule* rule = RuleFor(path);
    ASSERT_NE(rule, nullptr) << path;
    EXPECT_EQ("/wavefield.v1." + std::string(rule->method.substr(0, rule->method.find('.'))) + "/" +
                  std::string(rule->method.substr(rule->method.find('.') + 1)),
              path);
  }
}

TEST(Permissions, WhatIsNoMethodHasNoRule) {
  for (const char* path :
       {"", "/", "JobService.GetJob", "/wavefield.v1.JobService", "/wavefield.v1.JobService/",
        "/wavefield.v1.JobService/NoSuch", "/wavefield.v1.NoService/GetJob", "/JobService/GetJob",
        "/wavefield.v2.JobService/GetJob", "/wavefield.v1.JobService/GetJob/", "//GetJob"}) {
    EXPECT_EQ(RuleFor(path), nullptr) << path;
  }
}

TEST(Permissions, ReadsAreForViewersAndChangesAreNot) {
  for (const std::string& path : MethodsOfTheApi()) {
    const MethodRule& rule = *RuleFor(path);
    const std::string name = path.substr(path.rfind('/') + 1);
    if (name.starts_with("Get") || (name.starts_with("List") && name != "ListAuditEntries")) {
      EXPECT_EQ(rule.least, Role::kViewer) << path;
    }
    if (rule.audited) {
      EXPECT_NE(rule.least, Role::kViewer) << path;
    }
    for (const char* verb : {"Create", "Update", "Delete", "Cancel", "Pause", "Resume", "Upload"}) {
      if (name.starts_with(verb)) {
        EXPECT_TRUE(rule.audited) << path;
      }
    }
  }
}

TEST_F(Tokens, EveryCallWithoutAGoodTokenIsUnauthenticated) {
  for (const std::string& path : MethodsOfTheApi()) {
    for (const char* wrong :
         {"", "Bearer wrong-token-0123456789", "token-of-the-admin-0123456789"}) {
      const grpc::Status status = CallByPath(channel_, path, wrong);
      EXPECT_EQ(status.error_code(), grpc::StatusCode::UNAUTHENTICATED)
          << path << " '" << wrong << "'";
    }
    const grpc::Status expired =
        CallByPath(channel_, path, "Bearer token-that-has-expired-0123456789");
    EXPECT_EQ(expired.error_code(), grpc::StatusCode::UNAUTHENTICATED) << path;
    EXPECT_THAT(expired.error_message(), HasSubstr("expired on 2001-02-03T04:05:06Z"));
  }
}

TEST_F(Tokens, EveryMethodTakesTheRolesOfTheTableAndNoOther) {
  for (const std::string& path : MethodsOfTheApi()) {
    const MethodRule& rule = *RuleFor(path);
    for (const Role role : kRoles) {
      const grpc::Status status = CallAs(role, path);
      EXPECT_NE(status.error_code(), grpc::StatusCode::UNAUTHENTICATED) << path;
      if (Allows(role, rule.least)) {
        EXPECT_NE(status.error_code(), grpc::StatusCode::PERMISSION_DENIED) << path << NameOf(role);
        continue;
      }
      EXPECT_EQ(status.error_code(), grpc::StatusCode::PERMISSION_DENIED) << path << NameOf(role);
      EXPECT_THAT(status.error_message(), HasSubstr(std::string(rule.method)));
      EXPECT_THAT(status.error_message(), HasSubstr(std::string("role ") + NameOf(rule.least)));
      EXPECT_THAT(status.error_message(), HasSubstr(std::string("has role ") + NameOf(role)));
    }
  }
}

TEST_F(Tokens, ReflectionIsForViewersHealthForAllAndWhatIsNoMethodForNobody) {
  const std::string reflection = "/grpc.reflection.v1alpha.ServerReflection/ServerReflectionInfo";
  EXPECT_EQ(CallByPath(channel_, reflection, "").error_code(), grpc::StatusCode::UNAUTHENTICATED);
  EXPECT_EQ(CallAs(Role::kWorker, reflection).error_code(), grpc::StatusCode::PERMISSION_DENIED);
  EXPECT_NE(CallAs(Role::kViewer, reflection).error_code(), grpc::StatusCode::PERMISSION_DENIED);
  EXPECT_TRUE(CallByPath(channel_, "/grpc.health.v1.Health/Check", "").ok());
  EXPECT_EQ(CallByPath(channel_, "/no.such.Service/Method", "").error_code(),
            grpc::StatusCode::UNAUTHENTICATED);
  EXPECT_EQ(CallAs(Role::kAdmin, "/no.such.Service/Method").error_code(),
            grpc::StatusCode::UNIMPLEMENTED);
}

TEST_F(Tokens, TwoTokensInOneCallAreNone) {
  grpc::ClientContext context;
  context.set_deadline(std::chrono::system_clock::now() + std::chrono::seconds(10));
  for (const Role role : {Role::kViewer, Role::kAdmin}) {
    context.AddMetadata("authorization", "Bearer " + TokenOf(role));
  }
  v1::ListJobsResponse answer;
  EXPECT_EQ(jobs_->ListJobs(&context, {}, &answer).error_code(), grpc::StatusCode::UNAUTHENTICATED);
}

TEST_F(Tokens, ANewTokenFileHoldsWithoutARestart) {
  const std::string fresh = "fresh-token-0123456789";
  EXPECT_FALSE(Accepts(fresh));
  WriteTokens("ann " + fresh + "\n");
  server_->RefreshTokens();
  EXPECT_TRUE(Accepts(fresh));
  EXPECT_FALSE(Accepts(TokenOf(Role::kAdmin)));
}

TEST_F(Tokens, TheServerSeesANewTokenFileByItself) {
  const std::string fresh = "fresh-token-0123456789";
  WriteTokens("ann " + fresh + "\n");
  const auto deadline = std::chrono::steady_clock::now() + std::chrono::seconds(30);
  while (!Accepts(fresh) && std::chrono::steady_clock::now() < deadline) {
    std::this_thread::sleep_for(std::chrono::milliseconds(20));
  }
  EXPECT_TRUE(Accepts(fresh));
}

TEST_F(Tokens, ABrokenOrMissingTokenFileLeavesTheTokensAsTheyWere) {
  WriteTokens("ann short\n");
  server_->RefreshTokens();
  EXPECT_TRUE(Accepts(TokenOf(Role::kViewer)));
  EXPECT_FALSE(Accepts("short"));
  std::filesystem::remove(token_file_);
  server_->RefreshTokens();
  EXPECT_TRUE(Accepts(TokenOf(Role::kViewer)));
  WriteTokens("ann fresh-token-0123456789\n");
  server_->RefreshTokens();
  EXPECT_FALSE(Accepts(TokenOf(Role::kViewer)));
  EXPECT_TRUE(Accepts("fresh-token-0123456789"));
}

// A stream of a job that waits for ever, by the viewer.
class OpenWatch : public Tokens {
 protected:
  void SetUp() override {
    Tokens::SetUp();
    v1::Job job;
    ASSERT_TRUE(Call(*jobs_, &v1::JobService::Stub::CreateJob, ValidRequest("waits"), job,
                     TokenOf(Role::kUser))
                    .ok());
    context_.set_deadline(std::chrono::system_clock::now() + std::chrono::seconds(30));
    context_.AddMetadata("authorization", "Bearer " + TokenOf(Role::kViewer));
    v1::WatchJobRequest request;
    request.set_name(job.name());
    stream_ = jobs_->WatchJob(&context_, request);
    v1::WatchJobResponse first;
    ASSERT_TRUE(stream_->Read(&first));
  }

  grpc::StatusCode End() {
    for (v1::WatchJobResponse more; stream_->Read(&more);) {
    }
    return stream_->Finish().error_code();
  }

  grpc::ClientContext context_;
  std::unique_ptr<grpc::ClientReader<v1::WatchJobResponse>> stream_;
};

TEST_F(OpenWatch, EndsWhenItsTokenIsTakenAway) {
  WriteTokens("ann fresh-token-0123456789\n");
  server_->RefreshTokens();
  EXPECT_EQ(End(), grpc::StatusCode::CANCELLED);
}

TEST_F(OpenWatch, EndsWhenItsTokenGetsARoleThatMayNot) {
  WriteTokens("ann " + TokenOf(Role::kViewer) + " role=worker\n");
  server_->RefreshTokens();
  EXPECT_EQ(End(), grpc::StatusCode::CANCELLED);
}

TEST_F(OpenWatch, GoesOnWhenOtherTokensChange) {
  WriteTokens("ann fresh-token-0123456789\nben " + TokenOf(Role::kViewer) + " role=viewer\n");
  server_->RefreshTokens();
  v1::CancelJobRequest request;
  request.set_name("jobs/waits");
  v1::Job job;
  ASSERT_TRUE(
      Call(*jobs_, &v1::JobService::Stub::CancelJob, request, job, "fresh-token-0123456789").ok());
  EXPECT_EQ(End(), grpc::StatusCode::OK) << "the watch ends with the job";
}

}  // namespace
}  // namespace wavefield::coordinator
