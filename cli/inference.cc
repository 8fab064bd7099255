#include "cli/inference.h"

#include <fcntl.h>
#include <fmt/format.h>
#include <unistd.h>

#include <array>
#include <cerrno>
#include <cstdio>
#include <filesystem>

#include "cli/memory_file.h"
#include "cli/resource_names.h"
#include "core/base/file.h"
#include "core/base/status_macros.h"
#include "core/base/subprocess.h"
#include "proto/rpc/json.h"
#include "wavefield/v1/dataset_service.grpc.pb.h"
#include "wavefield/v1/inference_service.grpc.pb.h"

namespace wavefield {
namespace {

constexpr size_t kMaxLineBytes = 8 << 20;

template <typename Request>
using StreamMethod = std::unique_ptr<grpc::ClientReader<v1::InferenceOutput>> (
    v1::InferenceService::Stub::*)(grpc::ClientContext*, const Request&);

template <typename Request>
absl::Status ReadAll(const Session& session, StreamMethod<Request> method, const Request& request,
                     const OnInferenceOutput& on_output) {
  v1::InferenceService::Stub stub(session.channel());
  grpc::ClientContext context;
  session.PrepareStream(context);
  const auto reader = (stub.*method)(&context, request);
  v1::InferenceOutput output;
  while (reader->Read(&output)) on_output(output);
  const grpc::Status status = reader->Finish();
  return status.ok() ? absl::OkStatus() : session.ToError(status);
}

// Hands every line of `fd`, a message in JSON, to `on_output`.
absl::Status ReadLines(int fd, const OnInferenceOutput& on_output) {
  std::string line;
  std::array<char, 4096> buffer;
  while (true) {
    const ssize_t got = ::read(fd, buffer.data(), buffer.size());
    if (got < 0 && errno == EINTR) continue;
    if (got < 0) return ErrnoToStatus(errno, "cannot read from wavefield-trainer");
    if (got == 0) return absl::OkStatus();
    for (ssize_t i = 0; i < got; ++i) {
      const char c = buffer[static_cast<size_t>(i)];
      if (c != '\n') {
        line += c;
        if (line.size() > kMaxLineBytes)
          return absl::DataLossError("wavefield-trainer wrote an endless line");
        continue;
      }
      v1::InferenceOutput output;
      WF_RETURN_IF_ERROR(FromJson(line, output));
      on_output(output);
      line.clear();
    }
  }
}

}  // namespace

absl::Status EvaluateOnCluster(const Session& session, const v1::EvaluateRequest& request,
                               const OnInferenceOutput& on_output) {
  return ReadAll<v1::EvaluateRequest>(session, &v1::InferenceService::Stub::Evaluate, request,
                                      on_output);
}

absl::Status GenerateOnCluster(const Session& session, const v1::GenerateRequest& request,
                               const OnInferenceOutput& on_output) {
  return ReadAll<v1::GenerateRequest>(session, &v1::InferenceService::Stub::Generate, request,
                                      on_output);
}

absl::Status AuditOnCluster(const Session& session, const v1::AuditCausalityRequest& request,
                            const OnInferenceOutput& on_output) {
  return ReadAll<v1::AuditCausalityRequest>(session, &v1::InferenceService::Stub::AuditCausality,
                                            request, on_output);
}

absl::StatusOr<std::string> LocalDatasetDirectory(const std::string& dataset,
                                                  const ConnectionFlags& connection) {
  std::error_code error;
  if (std::filesystem::is_directory(dataset, error)) return dataset;
  v1::GetDatasetRequest request;
  WF_ASSIGN_OR_RETURN(*request.mutable_name(), ParseDatasetName(dataset));
  WF_ASSIGN_OR_RETURN(const Session session, Session::Open(connection));
  WF_ASSIGN_OR_RETURN(const v1::Dataset found,
                      session.Call(&v1::DatasetService::Stub::GetDataset, request));
  if (std::filesystem::is_directory(found.path(), error)) return found.path();
  return absl::NotFoundError(
      fmt::format("the dataset {} is at {} on the coordinator's host, not on this one; name the "
                  "job itself (JOB@STEP) in place of a directory",
                  dataset, found.path()));
}

absl::Status InferLocally(const std::vector<std::string>& arguments, const nlohmann::json& flags,
                          const OnInferenceOutput& on_output) {
  int ends[2];
  if (::pipe2(ends, O_CLOEXEC) != 0) return ErrnoToStatus(errno, "cannot create a pipe");
  FileDescriptor reading(ends[0]), writing(ends[1]);
  ProcessOptions options;
  options.command = {(ProgramDirectory() / "wavefield-trainer").string()};
  FileDescriptor flags_file;
  if (!flags.empty()) {
    WF_ASSIGN_OR_RETURN(flags_file, MemoryFile(nlohmann::json{{arguments.at(0), flags}}.dump()));
    options.channel_fd = flags_file.get();
    options.command.insert(options.command.end(), {"--config", "/proc/self/fd/3"});
  }
  options.command.insert(options.command.end(), arguments.begin(), arguments.end());
  options.stdout_fd = writing.get();
  WF_ASSIGN_OR_RETURN(Subprocess trainer, Subprocess::Start(options));
  writing.Close();
  WF_RETURN_IF_ERROR(ReadLines(reading.get(), on_output));
  const auto exit = trainer.Wait(absl::InfiniteDuration());
  if (exit && exit->code == 0) return absl::OkStatus();
  return absl::InternalError(fmt::format("wavefield-trainer ended with {}",
                                         exit ? exit->ToString() : "an unknown status"));
}

}  // namespace wavefield
