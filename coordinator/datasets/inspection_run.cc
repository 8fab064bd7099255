#include "coordinator/datasets/inspection_run.h"

#include <fmt/format.h>
#include <poll.h>
#include <unistd.h>

#include <cerrno>
#include <string>
#include <vector>

#include "coordinator/admission/admission.h"
#include "coordinator/jobs/text.h"
#include "coordinator/rpc/requests.h"
#include "core/base/clock.h"
#include "core/base/status_macros.h"
#include "core/base/subprocess.h"
#include "proto/rpc/json.h"

namespace wavefield::coordinator {
namespace {

constexpr int kDefaultSamples = 3, kMaxSamples = 100;
constexpr int kDefaultSampleTokens = 64, kMaxSampleTokens = 1024;
constexpr int kDefaultFrequentTokens = 20, kMaxFrequentTokens = 1000;
constexpr size_t kMaxOutputBytes = 6 << 20;

std::string Option(const char* name, int value, int default_value) {
  return fmt::format("--{}={}", name, value == 0 ? default_value : value);
}

}  // namespace

absl::Status CheckInspectRequest(const wavefield::v1::InspectDatasetRequest& request) {
  std::vector<FieldViolation> violations;
  const auto check = [&](const char* field, int value, int most) {
    if (value >= 0 && value <= most) return;
    violations.push_back({field, fmt::format("is {}; allowed: 0 to {}", value, most)});
  };
  check("samples", request.samples(), kMaxSamples);
  check("sample_tokens", request.sample_tokens(), kMaxSampleTokens);
  check("frequent_tokens", request.frequent_tokens(), kMaxFrequentTokens);
  return ViolationsToStatus(violations);
}

absl::StatusOr<wavefield::v1::DatasetInspection> RunInspection(
    const std::filesystem::path& program, const std::filesystem::path& directory,
    const wavefield::v1::InspectDatasetRequest& request, absl::Duration timeout) {
  WF_ASSIGN_OR_RETURN(auto sockets, SocketPair());
  ProcessOptions options;
  options.command = {program.string(),
                     "inspect",
                     Option("samples", request.samples(), kDefaultSamples),
                     Option("sample-tokens", request.sample_tokens(), kDefaultSampleTokens),
                     Option("frequent-tokens", request.frequent_tokens(), kDefaultFrequentTokens),
                     directory.string()};
  options.stdout_fd = sockets.second.get();
  options.stderr_fd = sockets.second.get();
  WF_ASSIGN_OR_RETURN(Subprocess process, Subprocess::Start(options));
  sockets.second.Close();

  const absl::Duration end = Clock::Real().Monotonic() + timeout;
  std::string output;
  while (true) {
    const absl::Duration left = end - Clock::Real().Monotonic();
    if (left <= absl::ZeroDuration()) {
      process.Stop(absl::ZeroDuration());
      return absl::DeadlineExceededError(fmt::format("looking into the dataset took longer than {}",
                                                     absl::FormatDuration(timeout)));
    }
    pollfd descriptor{sockets.first.get(), POLLIN, 0};
    const int ready = ::poll(&descriptor, 1, static_cast<int>(absl::ToInt64Milliseconds(left)) + 1);
    if (ready < 0 && errno != EINTR) {
      return ErrnoToStatus(errno, "cannot wait for the tokenizer");
    }
    if (ready <= 0) continue;
    char bytes[4096];
    const ssize_t count = ::read(sockets.first.get(), bytes, sizeof(bytes));
    if (count <= 0) break;
    output.append(bytes, static_cast<size_t>(count));
    if (output.size() > kMaxOutputBytes) {
      return absl::ResourceExhaustedError(
          fmt::format("the dataset's inspection is larger than {} bytes; ask for fewer samples and "
                      "tokens",
                      kMaxOutputBytes));
    }
  }
  const auto exit = process.Wait(absl::Seconds(5));
  if (!exit || exit->code != 0) {
    return absl::DataLossError(output.empty() ? "the tokenizer ended with " +
                                                    (exit ? exit->ToString() : "nothing at all")
                                              : Shortened(output, 1000));
  }
  wavefield::v1::DatasetInspection inspection;
  WF_RETURN_IF_ERROR(FromJson(output, inspection));
  return inspection;
}

}  // namespace wavefield::coordinator
