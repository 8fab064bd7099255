// What the audit log holds of calls that were done, that failed and that were refused.
#include "coordinator/audit/audit_log.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "absl/synchronization/notification.h"
#include "coordinator/audit/audited_call.h"
#include "coordinator/store/sqlite.h"
#include "coordinator/store/sqlite_store.h"
#include "core/base/file.h"
#include "core/base/status_macros.h"
#include "tests/coordinator/generic_call.h"
#include "tests/coordinator/record_fixtures.h"
#include "tests/coordinator/server_fixture.h"
#include "wavefield/v1/audit_service.grpc.pb.h"

namespace wavefield::coordinator {
namespace {

using testing::HasSubstr;
using testing::Not;

constexpr char kAnn[] = "token-of-ann-0123456789";
constexpr char kBen[] = "token-of-ben-0123456789";
constexpr char kRoot[] = "token-of-root-0123456789";

class AuditLogOfCalls : public ServerFixture {
 protected:
  void SetUp() override {
    options_.token_file = (directory_.path() / "tokens").string();
    ASSERT_TRUE(WriteFileAtomically(options_.token_file, std::string("ann ") + kAnn +
                                                             " role=user\nben " + kBen +
                                                             " role=viewer\nroot " + kRoot + "\n")
                    .ok());
    ServerFixture::SetUp();
  }

  absl::Status Create(const std::string& id, const std::string& token,
                      const std::string& request_id = "") {
    v1::CreateJobRequest request = ValidRequest(id);
    request.set_request_id(request_id);
    v1::Job job;
    return Call(*jobs_, &v1::JobService::Stub::CreateJob, request, job, token);
  }
  absl::Status Cancel(const std::string& name, const std::string& token) {
    v1::CancelJobRequest request;
    request.set_name(name);
    v1::Job job;
    return Call(*jobs_, &v1::JobService::Stub::CancelJob, request, job, token);
  }
  absl::StatusOr<v1::ListAuditEntriesResponse> List(const std::string& filter = "", int size = 0,
                                                    const std::string& page = "") {
    v1::ListAuditEntriesRequest request;
    request.set_filter(filter);
    request.set_page_size(size);
    request.set_page_token(page);
    v1::ListAuditEntriesResponse response;
    const auto stub = v1::AuditService::NewStub(channel_);
    const absl::Status status =
        Call(*stub, &v1::AuditService::Stub::ListAuditEntries, request, response, kRoot);
    if (!status.ok()) return status;
    return response;
  }
  std::vector<v1::AuditEntry> Entries(const std::string& filter = "") {
    const auto listed = List(filter);
    EXPECT_TRUE(listed.ok()) << listed.status();
    if (!listed.ok()) return {};
    return {listed->entries().begin(), listed->entries().end()};
  }
};

TEST_F(AuditLogOfCalls, ACallThatWasDoneSaysWhoDidWhatWhenAndFromWhere) {
  const absl::Time before = absl::Now();
  ASSERT_TRUE(Create("tides", kAnn, "request-7").ok());
  const auto entries = Entries();
  ASSERT_EQ(entries.size(), 1u);
  const v1::AuditEntry& entry = entries[0];
  EXPECT_EQ(entry.sequence(), 1);
  EXPECT_EQ(entry.principal(), "ann");
  EXPECT_EQ(entry.role(), "user");
  EXPECT_EQ(entry.method(), "JobService.CreateJob");
  EXPECT_EQ(entry.resource(), "jobs/tides");
  EXPECT_EQ(entry.peer(), "127.0.0.1");
  EXPECT_EQ(entry.result(), "OK");
  EXPECT_EQ(entry.message(), "");
  EXPECT_EQ(entry.request_id(), "request-7");
  EXPECT_GE(entry.time().seconds(), absl::ToUnixSeconds(before));
  EXPECT_LE(entry.time().seconds(), absl::ToUnixSeconds(absl::Now()));
}

TEST_F(AuditLogOfCalls, AResourceThatTheServerNamedIsTakenFromItsAnswer) {
  ASSERT_TRUE(Create("", kAnn).ok());
  const auto entries = Entries();
  ASSERT_EQ(entries.size(), 1u);
  EXPECT_THAT(entries[0].resource(), testing::StartsWith("jobs/wave-field-test-"));
}

TEST_F(AuditLogOfCalls, ACallThatFailedIsKeptWithItsErrorCutShort) {
  const std::string name = "jobs/" + std::string(5000, 'x');
  EXPECT_TRUE(absl::IsInvalidArgument(Cancel(name, kAnn)));
  EXPECT_TRUE(absl::IsNotFound(Cancel("jobs/none", kAnn)));
  const auto entries = Entries();
  ASSERT_EQ(entries.size(), 2u);
  EXPECT_EQ(entries[0].result(), "NOT_FOUND");
  EXPECT_EQ(entries[0].resource(), "jobs/none");
  EXPECT_THAT(entries[0].message(), HasSubstr("none"));
  EXPECT_EQ(entries[1].result(), "INVALID_ARGUMENT");
  EXPECT_LE(entries[1].resource().size(), 210u);
  EXPECT_LE(entries[1].message().size(), 310u);
}

TEST_F(AuditLogOfCalls, ACallThatTheRoleForbidsIsKept) {
  EXPECT_TRUE(absl::IsPermissionDenied(Cancel("jobs/tides", kBen)));
  const auto entries = Entries();
  ASSERT_EQ(entries.size(), 1u);
  EXPECT_EQ(entries[0].principal(), "ben");
  EXPECT_EQ(entries[0].role(), "viewer");
  EXPECT_EQ(entries[0].method(), "JobService.CancelJob");
  EXPECT_EQ(entries[0].result(), "PERMISSION_DENIED");
  EXPECT_THAT(entries[0].message(), HasSubstr("user or admin"));
}

TEST_F(AuditLogOfCalls, ReadsChecksAndCallsOfStrangersAreNotKept) {
  v1::ListJobsResponse jobs;
  ASSERT_TRUE(Call(*jobs_, &v1::JobService::Stub::ListJobs, {}, jobs, kBen).ok());
  v1::CreateJobRequest request = ValidRequest("only-checked");
  request.set_validate_only(true);
  v1::Job job;
  ASSERT_TRUE(Call(*jobs_, &v1::JobService::Stub::CreateJob, request, job, kAnn).ok());
  EXPECT_TRUE(absl::IsUnauthenticated(Cancel("jobs/tides", "nobodys-token-0123456789")));
  EXPECT_TRUE(Entries().empty());
}

TEST_F(AuditLogOfCalls, AStreamThatChangesSomethingIsKept) {
  grpc::ClientContext context;
  context.set_deadline(std::chrono::system_clock::now() + std::chrono::seconds(10));
  context.AddMetadata("authorization", std::string("Bearer ") + kAnn);
  auto stream = datasets_->CreateDataset(&context);
  v1::CreateDatasetRequest request;
  request.mutable_config()->set_dataset_id("words");
  stream->Write(request);
  stream->WritesDone();
  for (v1::CreateDatasetResponse response; stream->Read(&response);) {
  }
  EXPECT_FALSE(stream->Finish().ok()) << "it has no sources";
  const auto entries = Entries();
  ASSERT_EQ(entries.size(), 1u);
  EXPECT_EQ(entries[0].method(), "DatasetService.CreateDataset");
  EXPECT_EQ(entries[0].resource(), "datasets/words");
  EXPECT_EQ(entries[0].peer(), "127.0.0.1");
  EXPECT_EQ(entries[0].result(), "INVALID_ARGUMENT");
}

TEST_F(AuditLogOfCalls, AMessageThatCannotBeReadIsKept) {
  grpc::ClientContext context;
  context.set_deadline(std::chrono::system_clock::now() + std::chrono::seconds(10));
  context.AddMetadata("authorization", std::string("Bearer ") + kAnn);
  // A name that is no UTF-8.
  v1::CancelJobRequest request;
  request.GetReflection()->MutableUnknownFields(&request)->AddLengthDelimited(1, "\xff\xfe");
  v1::Job job;
  EXPECT_FALSE(jobs_->CancelJob(&context, request, &job).ok());
  EXPECT_EQ(Entries().size(), 1u);
}

TEST_F(AuditLogOfCalls, IsFilteredAndPagedNewestFirst) {
  for (int i = 0; i < 5; ++i) ASSERT_TRUE(Create("job-" + std::to_string(i), kAnn).ok());
  EXPECT_FALSE(Cancel("jobs/job-1", kBen).ok());
  EXPECT_FALSE(Create("job-6", kBen).ok());
  EXPECT_EQ(Entries().size(), 7u);
  EXPECT_EQ(Entries("principal=ben").size(), 2u);
  EXPECT_EQ(Entries("resource=jobs/job-* AND result=OK").size(), 5u);
  EXPECT_EQ(Entries("result!=OK AND method=JobService.CancelJob AND role=viewer").size(), 1u);
  EXPECT_EQ(Entries("time<2001-01-01T00:00:00Z").size(), 0u);
  EXPECT_EQ(Entries("time>2001-01-01T00:00:00Z AND peer=127.0.0.1").size(), 5u);

  const std::string long_filter = "principal=ann AND resource!=" + std::string(1500, 'x');
  std::vector<int64_t> sequences;
  std::string page;
  do {
    const auto listed = List(long_filter, 2, page);
    ASSERT_TRUE(listed.ok()) << listed.status();
    EXPECT_LE(listed->entries_size(), 2);
    for (const auto& entry : listed->entries()) sequences.push_back(entry.sequence());
    page = listed->next_page_token();
  } while (!page.empty());
  EXPECT_EQ(sequences, (std::vector<int64_t>{5, 4, 3, 2, 1}));

  EXPECT_TRUE(absl::IsInvalidArgument(List("colour=blue").status()));
  EXPECT_TRUE(absl::IsInvalidArgument(List("", -1).status()));
  EXPECT_TRUE(absl::IsInvalidArgument(List("", 0, "nonsense").status()));
}

TEST_F(AuditLogOfCalls, OutlivesTheServerAndGoesOnCounting) {
  ASSERT_TRUE(Create("one", kAnn).ok());
  Restart();
  ASSERT_TRUE(Create("two", kAnn).ok());
  const auto entries = Entries();
  ASSERT_EQ(entries.size(), 2u);
  EXPECT_EQ(entries[0].sequence(), 2);
  EXPECT_EQ(entries[0].resource(), "jobs/two");
  EXPECT_EQ(entries[1].resource(), "jobs/one");
}

TEST_F(AuditLogOfCalls, NothingOfTheServersFilesHoldsAToken) {
  ASSERT_TRUE(Create("one", kAnn, "id").ok());
  EXPECT_FALSE(Cancel("jobs/one", kBen).ok());
  EXPECT_FALSE(Cancel("jobs/one", "nobodys-token-0123456789").ok());
  Stop();
  int files = 0;
  for (const auto& file : std::filesystem::recursive_directory_iterator(DataDir())) {
    if (!file.is_regular_file()) continue;
    const auto bytes = ReadFile(file.path(), 1 << 26);
    ASSERT_TRUE(bytes.ok()) << bytes.status();
    ++files;
    EXPECT_THAT(*bytes, Not(HasSubstr("-0123456789"))) << file.path();
  }
  EXPECT_GE(files, 2);
}

using AuditLogWithoutTokens = ServerFixture;

TEST_F(AuditLogWithoutTokens, EverybodyIsAnAnonymousAdmin) {
  ASSERT_TRUE(CreateJob(ValidRequest("tides")).ok());
  v1::ListAuditEntriesResponse response;
  const auto stub = v1::AuditService::NewStub(channel_);
  ASSERT_TRUE(Call(*stub, &v1::AuditService::Stub::ListAuditEntries, {}, response).ok());
  ASSERT_EQ(response.entries_size(), 1);
  EXPECT_EQ(response.entries(0).principal(), "anonymous");
  EXPECT_EQ(response.entries(0).role(), "admin");
}

TEST(AuditStore, KeepsTheNewestMillion) {
  const TemporaryDirectory directory;
  const std::filesystem::path path = directory.path() / "coordinator.db";
  const auto append = [&](int count) {
    auto store = SqliteStore::Open(path, {});
    ASSERT_TRUE(store.ok()) << store.status();
    ASSERT_TRUE((*store)
                    ->Write([&](Transaction& transaction) -> absl::Status {
                      for (int i = 0; i < count; ++i) {
                        v1::AuditEntry entry;
                        entry.set_method("JobService.CreateJob");
                        const absl::Status added = transaction.AddAuditEntry(entry);
                        if (!added.ok()) return added;
                      }
                      return absl::OkStatus();
                    })
                    .ok());
  };
  append(3);
  {
    // As if there had been many between.
    auto connection = SqliteConnection::Open(path);
    ASSERT_TRUE(
        (*connection)->Execute("UPDATE audit SET sequence = 1000000 WHERE sequence = 3").ok());
  }
  append(1);
  auto connection = SqliteConnection::Open(path);
  EXPECT_EQ((*connection)->QueryInt("SELECT min(sequence) FROM audit").value(), 2);
  EXPECT_EQ((*connection)->QueryInt("SELECT max(sequence) FROM audit").value(), 1000001);
}

class AuditLogOfRefusals : public testing::Test {
 protected:
  AuditLogOfRefusals()
      : store_(SqliteStore::Open(directory_.path() / "coordinator.db", {}).value()) {}

  void Refuse(AuditLog& log, const std::string& principal, const std::string& method) {
    v1::AuditEntry entry;
    entry.set_principal(principal);
    entry.set_method(method);
    log.AppendRefusal(entry, [this] { ++answered_; });
  }
  size_t Kept(const std::string& principal = "") {
    size_t count = 0;
    EXPECT_TRUE(store_
                    ->Read([&](StoreReader& reader) -> absl::Status {
                      WF_ASSIGN_OR_RETURN(const auto entries,
                                          reader.ListAuditEntries(INT64_MAX, 10000));
                      for (const auto& entry : entries) {
                        if (principal.empty() || entry.principal() == principal) ++count;
                      }
                      return absl::OkStatus();
                    })
                    .ok());
    return count;
  }

  const TemporaryDirectory directory_;
  ManualClock clock_;
  std::unique_ptr<SqliteStore> store_;
  std::atomic<size_t> answered_ = 0;
};

TEST_F(AuditLogOfRefusals, OneASecondIsKeptOfEachPrincipalAndMethod) {
  {
    AuditLog log(*store_, clock_);
    for (int i = 0; i < 100; ++i) Refuse(log, "ben", "JobService.CreateJob");
    Refuse(log, "ben", "JobService.CancelJob");
    Refuse(log, "eve", "JobService.CreateJob");
    clock_.Advance(absl::Milliseconds(999));
    Refuse(log, "ben", "JobService.CreateJob");
    clock_.Advance(absl::Milliseconds(1));
    Refuse(log, "ben", "JobService.CreateJob");
  }
  EXPECT_EQ(answered_, 104u);
  EXPECT_EQ(Kept("ben"), 3u);
  EXPECT_EQ(Kept("eve"), 1u);
}

TEST_F(AuditLogOfRefusals, LeaveRoomForOtherCallsWhileTheStoreIsSlow) {
  constexpr size_t kRefusals = 4000;
  constexpr size_t kCalls = 3500;
  std::atomic<size_t> written = 0;
  absl::Notification blocked;
  absl::Notification go_on;
  std::thread writer([&] {
    EXPECT_TRUE(store_
                    ->Write([&](Transaction&) {
                      blocked.Notify();
                      go_on.WaitForNotification();
                      return absl::OkStatus();
                    })
                    .ok());
  });
  blocked.WaitForNotification();
  {
    AuditLog log(*store_, clock_);
    for (size_t i = 0; i < kRefusals; ++i) {
      Refuse(log, "viewer-" + std::to_string(i), "JobService.CreateJob");
    }
    for (size_t i = 0; i < kCalls; ++i) {
      v1::AuditEntry entry;
      entry.set_principal("ann");
      log.Append(entry, [&](const absl::Status& status) { written += status.ok() ? 1 : 0; });
    }
    go_on.Notify();
  }
  writer.join();
  EXPECT_EQ(written, kCalls);
  EXPECT_EQ(answered_, kRefusals);
  EXPECT_EQ(Kept("ann"), kCalls);
  // One group may be on its way to the store, and one waits.
  EXPECT_GE(Kept(), kCalls + 512);
  EXPECT_LE(Kept(), kCalls + 1024);
}

TEST(AuditedCall, AddressesAreShownWithoutPorts) {
  EXPECT_EQ(AddressOf("ipv4:10.1.2.3:4567"), "10.1.2.3");
  EXPECT_EQ(AddressOf("ipv6:[::1]:4567"), "::1");
  EXPECT_EQ(AddressOf("ipv6:%5B::1%5D:4567"), "::1");
  EXPECT_EQ(AddressOf("unix:/run/wavefield"), "unix:/run/wavefield");
}

TEST(AuditedCall, ResourcesAreFoundWhereverRequestsNameThem) {
  const auto resource = [](const google::protobuf::Message& request) {
    v1::AuditEntry entry;
    DescribeRequest(request, entry);
    return entry.resource();
  };
  v1::UpdateJobRequest update;
  update.mutable_job()->set_name("jobs/a");
  EXPECT_EQ(resource(update), "jobs/a");
  v1::UpdateCheckpointRequest pin;
  pin.mutable_checkpoint()->set_name("jobs/a/checkpoints/5-1");
  EXPECT_EQ(resource(pin), "jobs/a/checkpoints/5-1");
  v1::DeleteCheckpointsRequest several;
  several.set_parent("jobs/-");
  EXPECT_EQ(resource(several), "jobs/-");
  v1::UploadCheckpointRequest upload;
  upload.mutable_begin()->set_job_id("b");
  EXPECT_EQ(resource(upload), "jobs/b");
  v1::RegisterWorkerRequest worker;
  worker.set_worker_id("w1");
  EXPECT_EQ(resource(worker), "workers/w1");
  v1::CancelJobsRequest all;
  all.set_filter("state=QUEUED");
  EXPECT_EQ(resource(all), "");
}

}  // namespace
}  // namespace wavefield::coordinator
