#pragma once

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <memory>
#include <string>

#include "coordinator/admission/admission.h"
#include "coordinator/store/sqlite_store.h"
#include "core/base/file.h"
#include "core/base/status_macros.h"
#include "proto/rpc/status.h"
#include "tests/core/base/temporary_directory.h"

namespace wavefield::coordinator {

// A store with the dataset "text", a worker of two slots, and a request that is fine.
class AdmissionTest : public testing::Test {
 protected:
  void SetUp() override {
    facts_.storage_root = directory_.path();
    ASSERT_TRUE(CreateDirectories(directory_.path() / "datasets/text").ok());
    ASSERT_TRUE(WriteFileAtomically(directory_.path() / "datasets/text/train", "0123456789").ok());
    store_ = SqliteStore::Open(directory_.path() / "coordinator.db", {}).value();
    DatasetRecord record;
    v1::Dataset& dataset = *record.mutable_dataset();
    dataset.set_name("datasets/text");
    dataset.set_directory("datasets/text");
    dataset.set_vocab_size(200);
    dataset.set_train_tokens(1000);
    auto& file = *record.add_files();
    file.set_path("train");
    file.set_bytes(10);
    ASSERT_TRUE(store_
                    ->Write([&](Transaction& transaction) {
                      return transaction.PutDataset("text", record);
                    })
                    .ok());
    AddWorker("cpu", 2, int64_t{4} << 30);
    request_.mutable_spec()->mutable_model()->set_preset("wave-field-test");
    request_.mutable_spec()->set_dataset("text");
    training().set_max_steps(100);
    training().set_sequence_length(64);
  }

  void AddWorker(const std::string& device, int slots, int64_t memory) {
    v1::Worker& worker = facts_.workers.emplace_back();
    worker.set_device(device);
    worker.set_slots(slots);
    worker.set_memory_per_slot(memory);
  }

  // Of the first worker.
  void AddGpu(int slot, int64_t memory) {
    v1::Gpu& gpu = *facts_.workers[0].add_gpus();
    gpu.set_slot(slot);
    gpu.set_memory_bytes(memory);
  }

  v1::JobSpec& spec() { return *request_.mutable_spec(); }
  v1::TrainingSpec& training() { return *spec().mutable_training(); }

  absl::StatusOr<JobRecord> Admit() {
    absl::StatusOr<JobRecord> record;
    WF_RETURN_IF_ERROR(store_->Read([&](StoreReader& reader) {
      record = AdmitJob(request_, reader, facts_, absl::FromUnixSeconds(1));
      return absl::OkStatus();
    }));
    return record;
  }

  // The one violation there is must be of this field and say these words.
  void ExpectOnly(const std::string& field, const std::string& words) {
    const auto details = BadRequestOf(Admit().status());
    ASSERT_EQ(details.field_violations_size(), 1) << details.ShortDebugString();
    EXPECT_EQ(details.field_violations(0).field(), field);
    EXPECT_THAT(details.field_violations(0).description(), testing::HasSubstr(words));
  }

  TemporaryDirectory directory_;
  std::unique_ptr<SqliteStore> store_;
  AdmissionFacts facts_;
  v1::CreateJobRequest request_;
};

}  // namespace wavefield::coordinator
