#pragma once

#include <map>
#include <mutex>
#include <string>
#include <utility>

#include "absl/status/statusor.h"
#include "coordinator/store/store.h"

namespace wavefield::coordinator {

// Which checkpoints this coordinator reads, or has read, at this moment: downloads, checks,
// comparisons, evaluations, generations and audits. They are not removed meanwhile. Thread-safe.
class CheckpointReads {
 public:
  // Ends one reading when destroyed. The registry outlives it.
  class Hold {
   public:
    Hold() = default;
    Hold(CheckpointReads* reads, std::multimap<std::string, std::string>::iterator entry)
        : reads_(reads), entry_(entry) {}
    Hold(Hold&& other) noexcept { *this = std::move(other); }
    Hold& operator=(Hold&& other) noexcept {
      std::swap(reads_, other.reads_);
      std::swap(entry_, other.entry_);
      return *this;
    }
    ~Hold();

   private:
    CheckpointReads* reads_ = nullptr;
    std::multimap<std::string, std::string>::iterator entry_;
  };

  // `reader`: in the plural, "downloads".
  Hold Begin(const std::string& directory, const std::string& reader);
  // directory → "downloads read it now".
  std::map<std::string, std::string> Needs() const;

 private:
  mutable std::mutex mutex_;
  std::multimap<std::string, std::string> readers_;  // by directory
};

// A checkpoint that stays as long as `hold` lives.
struct HeldCheckpoint {
  wavefield::v1::Checkpoint checkpoint;
  CheckpointReads::Hold hold;
};

// The checkpoint of this name, as ResolveCheckpoint takes it, held for `reader`. Waits for the
// store's writer, so that no removal can lie between finding and holding it.
absl::StatusOr<HeldCheckpoint> HoldCheckpoint(Store& store, CheckpointReads& reads,
                                              const std::string& name, const std::string& reader);

}  // namespace wavefield::coordinator
