#pragma once

#include <cstddef>
#include <cstdint>
#include <string>
#include <string_view>
#include <variant>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/time/time.h"
#include "wavefield/v1/worker_service.pb.h"

// The worker's end of its channels to the trainers it started: worker/channel.md.
namespace wavefield {

// Of one message, with its newline.
inline constexpr size_t kMaxChannelMessageBytes = size_t{4} << 20;

struct RendezvousSet {
  int64_t id = 0;  // chosen by the trainer, comes back in the reply
  std::string key;
  std::string value;
};

struct RendezvousWait {
  int64_t id = 0;
  std::string key;
  absl::Duration timeout;
};

using TrainerMessage = std::variant<v1::TrainerEvent, RendezvousSet, RendezvousWait>;

struct RendezvousReply {
  int64_t id = 0;
  std::string value;    // of a wait that succeeded
  absl::Status status;  // travels as "CODE: message"
};

// Finish the step, write a last checkpoint, exit.
struct StopRequest {};

// Exit at once.
struct AbortRequest {
  std::string reason;
};

using WorkerMessage = std::variant<RendezvousReply, StopRequest, AbortRequest>;

// One line, with its newline.
std::string EncodeMessage(const WorkerMessage& message);

// `line` without its newline. INVALID_ARGUMENT, naming what is wrong, for anything that is not
// exactly one message.
absl::StatusOr<TrainerMessage> ParseMessage(const std::string& line);

// Cuts a byte stream into lines. Not thread-safe.
class LineBuffer {
 public:
  explicit LineBuffer(size_t limit = kMaxChannelMessageBytes) : limit_(limit) {}

  void Append(std::string_view bytes) { buffer_.append(bytes); }

  // Takes the next complete line, without its newline; false when there is none yet.
  // RESOURCE_EXHAUSTED when a line is longer than the limit.
  absl::StatusOr<bool> Next(std::string& line);

 private:
  size_t limit_;
  std::string buffer_;
  size_t start_ = 0;    // of the next line
  size_t scanned_ = 0;  // no newline in [start_, scanned_)
};

}  // namespace wavefield
