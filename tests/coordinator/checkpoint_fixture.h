#pragma once

#include <filesystem>
#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "core/checkpoint/manifest.h"
#include "tests/coordinator/fake_worker.h"
#include "tests/coordinator/server_fixture.h"

namespace wavefield::coordinator {

// A coordinator with one worker, whose jobs get real checkpoints: little ones, as trainers write
// them.
class CheckpointFixture : public ServerFixture {
 protected:
  void SetUp() override;
  void TearDown() override { worker_.reset(); }
  void ConnectWorker();

  // A job that trains, and keeps its newest three checkpoints.
  void StartJob(
      const std::string& id, const std::function<void(v1::JobSpec&)>& change = [](v1::JobSpec&) {});
  // Its only rank is done.
  void FinishJob(const std::string& id, int epoch = 1);

  // Writes the checkpoint of a job's step in `folder`, below any storage root; the manifest's text.
  // All weights are `weight`, but for one in each tensor, which is twice as much.
  std::string Write(
      const std::filesystem::path& root, const std::string& folder, const std::string& job,
      int64_t step, int64_t epoch, float weight,
      const std::function<void(CheckpointManifest&)>& change = [](CheckpointManifest&) {});
  // Writes it into the storage and reports it for the attempt of this epoch; its name.
  std::string Save(
      const std::string& job, int64_t step, int64_t epoch = 1, float weight = 1,
      const std::function<void(CheckpointManifest&)>& change = [](CheckpointManifest&) {});

  absl::StatusOr<v1::Checkpoint> Get(const std::string& name);
  absl::StatusOr<std::vector<v1::Checkpoint>> List(const std::string& parent,
                                                   const std::string& filter = "",
                                                   const std::string& order = "",
                                                   int page_size = 0);
  absl::Status Delete(const std::string& name, bool validate_only = false);
  absl::StatusOr<v1::Checkpoint> Update(const std::string& name, bool pinned,
                                        const std::string& note,
                                        const std::vector<std::string>& mask);
  // All messages of one verification.
  absl::StatusOr<std::vector<v1::VerifyCheckpointResponse>> Verify(const std::string& name);
  std::filesystem::path DirectoryOf(const std::string& name);
  // Changes one bit at the end of a file.
  static void Damage(const std::filesystem::path& file);
  // Waits until the directory is gone.
  void WaitUntilRemoved(const std::filesystem::path& directory);

  std::unique_ptr<FakeWorker> worker_;
};

}  // namespace wavefield::coordinator
