// Uploads of checkpoints: whole ones, broken ones that are continued, and hostile ones.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <map>

#include "coordinator/checkpoints/upload_manifest.h"
#include "coordinator/checkpoints/upload_staging.h"
#include "core/base/checksum.h"
#include "core/base/file.h"
#include "tests/coordinator/checkpoint_fixture.h"

namespace wavefield::coordinator {
namespace {

using ::testing::AllOf;
using ::testing::AnyOf;
using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::IsEmpty;

using Stream = grpc::ClientReaderWriter<v1::UploadCheckpointRequest, v1::UploadCheckpointResponse>;

// Which parts of the files a client sends.
struct Sent {
  std::string path;
  int64_t offset = 0;
  std::string data;
};

struct Outcome {
  absl::Status status;
  std::map<std::string, int64_t> offsets;
  v1::Checkpoint checkpoint;
};

class Upload : public CheckpointFixture {
 protected:
  void SetUp() override {
    CheckpointFixture::SetUp();
    v1::CreateJobRequest request = ValidRequest("source");
    request.set_job_id("source");
    ASSERT_TRUE(CreateJob(request).ok());
    manifest_ = Write(directory_.path(), "elsewhere", "source", 400, 2, 1.0f);
    const CheckpointManifest parsed = ParseManifest(manifest_).value();
    for (const auto& file : parsed.files) {
      files_[file.name] = ReadFile(directory_.path() / "elsewhere" / file.name).value();
    }
  }

  static v1::UploadCheckpointRequest Begin(const std::string& job, const std::string& manifest) {
    v1::UploadCheckpointRequest request;
    request.mutable_begin()->set_job_id(job);
    request.mutable_begin()->set_manifest(manifest);
    request.mutable_begin()->set_note("from afar");
    return request;
  }

  // What is missing of all files, in pieces of `piece` bytes.
  std::vector<Sent> Rest(std::map<std::string, int64_t> offsets, size_t piece = 1000) {
    std::vector<Sent> rest;
    for (const auto& [path, data] : files_) {
      for (auto at = static_cast<size_t>(offsets[path]); at < data.size(); at += piece) {
        rest.push_back({path, static_cast<int64_t>(at), data.substr(at, piece)});
      }
    }
    return rest;
  }

  // One upload; `sent` says what to send once it is known what is there.
  Outcome Run(const v1::UploadCheckpointRequest& begin,
              const std::function<std::vector<Sent>(const Outcome&)>& sent,
              bool break_off = false) {
    Outcome outcome;
    grpc::ClientContext context;
    context.set_deadline(std::chrono::system_clock::now() + std::chrono::seconds(20));
    const auto stream = checkpoints_->UploadCheckpoint(&context);
    v1::UploadCheckpointResponse response;
    if (stream->Write(begin) && stream->Read(&response)) {
      outcome.offsets.insert(response.offsets().begin(), response.offsets().end());
      for (const Sent& part : sent(outcome)) {
        v1::UploadCheckpointRequest request;
        request.mutable_chunk()->set_path(part.path);
        request.mutable_chunk()->set_offset(part.offset);
        request.mutable_chunk()->set_data(part.data);
        if (!stream->Write(request)) break;
      }
      if (break_off) context.TryCancel();
      stream->WritesDone();
      while (stream->Read(&response)) outcome.checkpoint = response.checkpoint();
    }
    outcome.status = FromGrpcStatus(stream->Finish());
    return outcome;
  }

  Outcome UploadAll(const std::string& job) {
    return Run(Begin(job, manifest_), [&](const Outcome& o) { return Rest(o.offsets); });
  }

  // The upload, waiting for an earlier one of the same job to be given up.
  Outcome UploadOnceFree(const v1::UploadCheckpointRequest& begin,
                         const std::function<std::vector<Sent>(const Outcome&)>& sent) {
    Outcome outcome;
    do {
      outcome = Run(begin, sent);
    } while (absl::IsAborted(outcome.status));
    return outcome;
  }

  // The manifest with something changed in it, and a digest that is right again.
  std::string Changed(const std::function<void(CheckpointManifest&)>& change) {
    CheckpointManifest manifest = ParseManifest(manifest_).value();
    change(manifest);
    return FormatManifest(manifest);
  }

  bool JobExists(const std::string& job) {
    v1::GetJobRequest request;
    request.set_name("jobs/" + job);
    v1::Job found;
    return Call(*jobs_, &v1::JobService::Stub::GetJob, request, found).ok();
  }

  std::vector<std::string> Uploads() {
    std::vector<std::string> names;
    std::error_code error;
    for (const auto& entry :
         std::filesystem::directory_iterator(StorageRoot() / "uploads", error)) {
      names.push_back(entry.path().filename().string());
    }
    return names;
  }

  std::string manifest_;
  std::map<std::string, std::string> files_;
};

TEST_F(Upload, MakesAJobWhoseCheckpointIsAsGoodAsOneTrainedHere) {
  const Outcome uploaded = UploadAll("mine");
  ASSERT_TRUE(uploaded.status.ok()) << uploaded.status;
  EXPECT_EQ(uploaded.checkpoint.name(), "jobs/mine/checkpoints/400-2");
  EXPECT_EQ(uploaded.checkpoint.note(), "from afar");
  EXPECT_EQ(uploaded.checkpoint.total_tokens(), 40'000);
  EXPECT_TRUE(uploaded.checkpoint.has_verify_time());
  const v1::Job job = GetJob("mine");
  EXPECT_EQ(job.state(), v1::JOB_STATE_SUCCEEDED);
  EXPECT_EQ(job.reason(), v1::JOB_REASON_UPLOADED);
  EXPECT_EQ(job.latest_checkpoint(), uploaded.checkpoint.name());
  const v1::Job source = GetJob("source");
  EXPECT_EQ(job.parameter_count(), source.parameter_count());
  EXPECT_EQ(job.spec().dataset(), "datasets/text");
  EXPECT_EQ(job.spec().training().ShortDebugString(), source.spec().training().ShortDebugString());
  EXPECT_THAT(Uploads(), IsEmpty());

  // Downloaded again it is the same to the byte.
  grpc::ClientContext context;
  v1::DownloadCheckpointRequest download;
  download.set_name("jobs/mine/checkpoints/latest");
  const auto stream = checkpoints_->DownloadCheckpoint(&context, download);
  v1::DownloadCheckpointResponse response;
  std::map<std::string, std::string> received;
  while (stream->Read(&response)) {
    if (!response.path().empty()) received[response.path()] += response.data();
  }
  ASSERT_TRUE(stream->Finish().ok());
  std::map<std::string, std::string> expected = files_;
  expected["manifest.json"] = manifest_;
  EXPECT_EQ(received, expected);
  const auto verified = Verify("jobs/mine/checkpoints/400");
  ASSERT_TRUE(verified.ok()) << verified.status();
  EXPECT_THAT(verified->back().damaged_files(), IsEmpty());

  // Another job can start from it.
  v1::CreateJobRequest fork = ValidRequest("fork");
  fork.mutable_spec()->set_init_from("jobs/mine/checkpoints/400");
  EXPECT_TRUE(CreateJob(fork).ok()) << CreateJob(fork).status();
  Restart();
  EXPECT_TRUE(Get("jobs/mine/checkpoints/400-2").ok());
}

TEST_F(Upload, OnceMoreIsTheSameAndSomethingElseIsRefused) {
  ASSERT_TRUE(UploadAll("mine").status.ok());
  const Outcome again = UploadAll("mine");
  ASSERT_TRUE(again.status.ok()) << again.status;
  EXPECT_EQ(again.checkpoint.name(), "jobs/mine/checkpoints/400-2");
  for (const auto& [path, data] : files_) {
    EXPECT_EQ(again.offsets.at(path), static_cast<int64_t>(data.size())) << path;
  }
  const std::string other = Changed([](CheckpointManifest& m) { m.tokens += 1; });
  const auto nothing = [](const Outcome&) { return std::vector<Sent>(); };
  EXPECT_TRUE(absl::IsAlreadyExists(Run(Begin("mine", other), nothing).status));
  EXPECT_TRUE(absl::IsAlreadyExists(Run(Begin("source", manifest_), nothing).status));
}

TEST_F(Upload, IsContinuedAfterABrokenStreamAndARestart) {
  const auto first = [&](const Outcome&) {
    std::vector<Sent> parts = Rest({});
    parts.resize(parts.size() / 2);
    return parts;
  };
  EXPECT_THAT(Run(Begin("mine", manifest_), first).status.ToString(),
              HasSubstr("begin again, and send what is missing"));
  EXPECT_FALSE(JobExists("mine"));
  Run(
      Begin("mine", manifest_),
      [&](const Outcome& o) {
        std::vector<Sent> parts = Rest(o.offsets);
        parts.resize(1);
        return parts;
      },
      /*break_off=*/true);
  Restart();
  ConnectWorker();
  int64_t there = 0;
  const Outcome last = UploadOnceFree(Begin("mine", manifest_), [&](const Outcome& o) {
    for (const auto& [path, bytes] : o.offsets) there += bytes;
    return Rest(o.offsets);
  });
  ASSERT_TRUE(last.status.ok()) << last.status;
  EXPECT_GT(there, 0) << "it did not begin anew";
  EXPECT_THAT(Verify("jobs/mine/checkpoints/400")->back().damaged_files(), IsEmpty());
}

TEST_F(Upload, AFileThatIsNotWhatTheManifestSaysIsDroppedAndCanBeSentAnew) {
  const std::string path = files_.begin()->first;
  const Outcome wrong = Run(Begin("mine", manifest_), [&](const Outcome& o) {
    std::vector<Sent> parts = Rest(o.offsets);
    parts[0].data[0] ^= 1;
    return parts;
  });
  EXPECT_THAT(wrong.status.ToString(),
              AllOf(HasSubstr(path + ": has another SHA-256"), HasSubstr("send it anew"),
                    Not(HasSubstr(directory_.path().string()))));
  EXPECT_FALSE(JobExists("mine"));
  const Outcome right = UploadAll("mine");
  ASSERT_TRUE(right.status.ok()) << right.status;
  EXPECT_FALSE(right.offsets.contains(path));
  EXPECT_EQ(right.offsets.size(), files_.size() - 1) << "the others were kept";
}

TEST_F(Upload, WhateverMomentTheCoordinatorEndsAtItGoesOn) {
  const auto begin = Begin("mine", manifest_).begin();
  const auto read = ReadUpload(begin, absl::UnixEpoch());
  ASSERT_TRUE(read.ok()) << read.status();
  // Moved to its place, but not catalogued.
  {
    auto staging = UploadStaging::Open(StorageRoot(), "mine", manifest_, read->checkpoint);
    ASSERT_TRUE(staging.ok()) << staging.status();
    for (const Sent& part : Rest({})) {
      v1::UploadCheckpointRequest::Chunk chunk;
      chunk.set_path(part.path);
      chunk.set_offset(part.offset);
      chunk.set_data(part.data);
      ASSERT_TRUE(staging->Add(chunk).ok());
    }
    const absl::Status complete = staging->Complete([] { return false; });
    ASSERT_TRUE(complete.ok()) << complete;
    EXPECT_TRUE(std::filesystem::exists(StorageRoot() / staging->directory() / "manifest.json"));
  }
  v1::CollectGarbageRequest collect;
  collect.set_parent("jobs/-");
  v1::CollectGarbageResponse collected;
  ASSERT_TRUE(
      Call(*checkpoints_, &v1::CheckpointService::Stub::CollectGarbage, collect, collected).ok());
  EXPECT_EQ(collected.orphans_size(), 0) << "an upload that is not done owns it";
  const Outcome moved = UploadAll("mine");
  ASSERT_TRUE(moved.status.ok()) << moved.status;
  for (const auto& [path, data] : files_) {
    EXPECT_EQ(moved.offsets.at(path), static_cast<int64_t>(data.size()));
  }
  // Ended before the first message was written down, and in the middle of a file.
  ASSERT_TRUE(CreateDirectories(StorageRoot() / "uploads/b.0123/files").ok());
  ASSERT_TRUE(CreateDirectories(StorageRoot() / "uploads/c.0123").ok());
  ASSERT_TRUE(WriteFileAtomically(StorageRoot() / "uploads/c.0123/begin", manifest_).ok());
  for (const char* job : {"b", "c"}) {
    const Outcome uploaded = UploadAll(job);
    EXPECT_TRUE(uploaded.status.ok()) << uploaded.status;
  }
  EXPECT_THAT(Uploads(), IsEmpty());
}

TEST_F(Upload, OneIsKeptForADay) {
  Run(Begin("mine", manifest_), [&](const Outcome&) { return std::vector<Sent>{Rest({})[0]}; });
  ASSERT_EQ(Uploads().size(), 1u);
  RemoveStaleUploads(StorageRoot(), absl::Now() + absl::Hours(23));
  EXPECT_EQ(Uploads().size(), 1u);
  RemoveStaleUploads(StorageRoot(), absl::Now() + absl::Hours(25));
  EXPECT_THAT(Uploads(), IsEmpty());
}

TEST_F(Upload, TwoAtOnceDoNotMix) {
  grpc::ClientContext context;
  const auto first = checkpoints_->UploadCheckpoint(&context);
  v1::UploadCheckpointResponse response;
  ASSERT_TRUE(first->Write(Begin("mine", manifest_)));
  ASSERT_TRUE(first->Read(&response));
  EXPECT_THAT(UploadAll("mine").status.ToString(),
              AllOf(HasSubstr("ABORTED"), HasSubstr("by another call")));
  EXPECT_TRUE(UploadAll("other").status.ok());
  first->WritesDone();
  EXPECT_TRUE(absl::IsInvalidArgument(FromGrpcStatus(first->Finish())));
  EXPECT_TRUE(UploadAll("mine").status.ok());
}

TEST_F(Upload, HostileFirstMessagesAreRefusedByWhatIsWrong) {
  const auto with_file = [&](const std::string& name, uint64_t bytes) {
    return Changed([&](CheckpointManifest& m) {
      m.files.push_back({name, bytes, std::string(64, 'a')});
    });
  };
  std::string nested = R"({"a":)";
  for (int i = 0; i < 500'000; ++i) nested += '[';
  std::string torn = manifest_;
  torn[torn.size() / 2] ^= 1;
  v1::UploadCheckpointRequest empty, long_note = Begin("mine", manifest_),
                                     escapes = Begin("mine", manifest_);
  long_note.mutable_begin()->set_note(std::string(1001, 'n'));
  escapes.mutable_begin()->set_note("\x1b]0;title\x07");
  v1::UploadCheckpointRequest chunk_first;
  chunk_first.mutable_chunk()->set_path("model.safetensors");
  const std::vector<std::pair<v1::UploadCheckpointRequest, std::string>> cases = {
      {empty, "begin: is not set in the first message"},
      {chunk_first, "begin: is not set in the first message"},
      {Begin("", manifest_), "begin.job_id: is ''"},
      {Begin("../x", manifest_), "begin.job_id: is '../x'"},
      {Begin("a.b", manifest_), "begin.job_id: is 'a.b'"},
      {Begin(std::string(64, 'a'), manifest_), "begin.job_id"},
      {long_note, "begin.note: has 1001 bytes"},
      {escapes, "begin.note: has control characters"},
      {Begin("mine", ""), "torn or altered"},
      {Begin("mine", "{}"), "torn or altered"},
      {Begin("mine", torn), "torn or altered"},
      {Begin("mine", std::string((4 << 20) + 1, ' ')), "at most 4194304 are allowed"},
      {Begin("mine", nested), "is nested 500001 levels deep"},
      {Begin("mine", with_file("../../escape", 1)), "distinct file names; found '../../escape'"},
      {Begin("mine", with_file("/etc/passwd", 1)), "found '/etc/passwd'"},
      {Begin("mine", with_file("a/b", 1)), "found 'a/b'"},
      {Begin("mine", with_file("manifest.json", 1)), "found 'manifest.json'"},
      {Begin("mine", with_file(files_.begin()->first, 1)), "distinct file names"},
      {Begin("mine", with_file("big", uint64_t{1} << 59)), "bytes together"},
      {Begin("mine", with_file("big", uint64_t{1} << 49)), "the storage has no space for it"},
      {Begin("mine", Changed([](CheckpointManifest& m) { m.files.clear(); })), "names 0 files"},
      {Begin("mine", Changed([](CheckpointManifest& m) {
               for (int i = 0; i < 5000; ++i)
                 m.files.push_back({std::to_string(i), 0, std::string(64, 'a')});
             })),
       "allowed: 1 to 4096"},
      {Begin("mine", Changed([](CheckpointManifest& m) { m.step = ~uint64_t{0}; })), "has a step"},
      {Begin("mine", Changed([](CheckpointManifest& m) { m.model_config["form"] = "odd"; })),
       "begin.manifest"},
      {Begin("mine", Changed([](CheckpointManifest& m) { m.training_spec.erase("training"); })),
       "begin.manifest"},
  };
  for (const auto& [begin, expected] : cases) {
    const Outcome outcome = Run(begin, [&](const Outcome& o) { return Rest(o.offsets); });
    EXPECT_THAT(outcome.status.ToString(),
                AllOf(HasSubstr(expected),
                      AnyOf(HasSubstr("INVALID_ARGUMENT"), HasSubstr("RESOURCE_EXHAUSTED"))));
    EXPECT_FALSE(JobExists("mine")) << expected;
  }
  EXPECT_FALSE(std::filesystem::exists(directory_.path() / "escape"));
  EXPECT_TRUE(UploadAll("mine").status.ok()) << "nothing of it is left in the way";
}

TEST_F(Upload, HostileChunksAreRefusedByWhatIsWrong) {
  const std::string path = files_.begin()->first;
  const std::string& data = files_.begin()->second;
  const int64_t size = static_cast<int64_t>(data.size());
  const std::vector<std::pair<std::vector<Sent>, std::string>> cases = {
      {{{"unknown", 0, "x"}}, "chunk.path: is 'unknown', which the manifest does not name"},
      {{{"../begin", 0, "x"}}, "chunk.path: is '../begin'"},
      {{{"manifest.json", 0, "x"}}, "chunk.path: is 'manifest.json'"},
      {{{"", 0, "x"}}, "chunk.path: is ''"},
      {{{path, 1, "x"}}, "chunk.offset: is 1; of '" + path + "' 0 bytes are here"},
      {{{path, -1, "x"}}, "chunk.offset: is -1"},
      {{{path, 0, ""}}, "chunk.data: has 0 bytes; allowed: 1 to 1048576"},
      {{{path, 0, std::string((1 << 20) + 1, 'x')}}, "chunk.data: has 1048577 bytes"},
      {{{path, 0, data + "x"}},
       "chunk.data: goes beyond the " + std::to_string(size) + " bytes that '" + path + "' has"},
      {{}, "the upload ended after 0 of the " + std::to_string(size) + " bytes of '" + path + "'"},
      {{{path, 0, data.substr(0, 9)}, {path, 0, data.substr(0, 9)}},
       "chunk.offset: is 0; of '" + path + "' 9 bytes are here: send it from there on"},
  };
  for (const auto& [parts, expected] : cases) {
    const Outcome outcome =
        Run(Begin("mine", manifest_), [&, &parts = parts](const Outcome&) { return parts; });
    EXPECT_THAT(outcome.status.ToString(),
                AllOf(HasSubstr("INVALID_ARGUMENT"), HasSubstr(expected)));
    EXPECT_FALSE(JobExists("mine")) << expected;
  }
  // A second first message.
  grpc::ClientContext context;
  const auto stream = checkpoints_->UploadCheckpoint(&context);
  v1::UploadCheckpointResponse response;
  ASSERT_TRUE(stream->Write(Begin("mine", manifest_)) && stream->Read(&response));
  stream->Write(Begin("mine", manifest_));
  EXPECT_THAT(FromGrpcStatus(stream->Finish()).ToString(), HasSubstr("chunk: is not set"));
  EXPECT_TRUE(UploadAll("mine").status.ok()) << "nothing of it is left in the way";
}

}  // namespace
}  // namespace wavefield::coordinator
