#include "coordinator/datasets/tokenizer_run.h"

#include <fmt/format.h>
#include <poll.h>
#include <unistd.h>

#include <cerrno>
#include <nlohmann/json.hpp>
#include <optional>

#include "absl/strings/escaping.h"
#include "absl/strings/str_replace.h"
#include "coordinator/datasets/dataset_request.h"
#include "coordinator/datasets/source_upload.h"
#include "coordinator/jobs/text.h"
#include "core/base/clock.h"
#include "core/base/file.h"
#include "core/base/status_macros.h"
#include "core/base/subprocess.h"

namespace wavefield::coordinator {
namespace {

using nlohmann::json;
using wavefield::v1::Dataset;
using wavefield::v1::DatasetProgress;

constexpr size_t kMaxLineBytes = 1 << 20;
constexpr int kPollMilliseconds = 500;
constexpr int kMaxWarnings = 20;

// Where the sources of a kind were staged.
std::vector<std::string> StagedFiles(const std::filesystem::path& staging,
                                     const wavefield::v1::CreateDatasetConfig& config,
                                     wavefield::v1::SourceKind kind) {
  std::vector<std::string> files;
  for (const auto& source : config.sources()) {
    if (source.kind() != kind) continue;
    files.push_back((SourceUpload::FolderOf(staging, kind) / source.path()).string());
  }
  return files;
}

std::vector<std::string> Command(const std::filesystem::path& program,
                                 const std::filesystem::path& staging,
                                 const std::filesystem::path& output,
                                 const wavefield::v1::CreateDatasetConfig& config) {
  const auto& options = config.options();
  const bool imports = HasTokenFiles(config);
  std::vector<std::string> command = {program.string(), imports ? "import" : "prepare",
                                      "--json-progress", "--output=" + output.string(),
                                      "--name=" + config.dataset_id()};
  const auto add_files = [&](const char* option, wavefield::v1::SourceKind kind) {
    for (const std::string& file : StagedFiles(staging, config, kind)) {
      command.push_back(option + file);
    }
  };
  const auto models = StagedFiles(staging, config, wavefield::v1::SOURCE_KIND_SENTENCEPIECE_MODEL);
  if (options.has_vocab_size())
    command.push_back(fmt::format("--vocab-size={}", options.vocab_size()));
  if (options.has_validation_fraction()) {
    command.push_back(fmt::format("--validation-fraction={}", options.validation_fraction()));
  }
  if (imports) {
    add_files("--train=", wavefield::v1::SOURCE_KIND_TRAIN_TOKENS);
    add_files("--validation=", wavefield::v1::SOURCE_KIND_VALIDATION_TOKENS);
    add_files("--model=", wavefield::v1::SOURCE_KIND_SENTENCEPIECE_MODEL);
    add_files("--token-bytes=", wavefield::v1::SOURCE_KIND_TOKEN_BYTES);
    if (options.has_token_format()) command.push_back("--format=" + options.token_format());
    if (options.has_token_type()) command.push_back("--dtype=" + options.token_type());
    if (options.has_separator_id()) {
      command.push_back(fmt::format("--separator-id={}", options.separator_id()));
    }
    return command;
  }
  command.push_back(
      "--input=" +
      SourceUpload::FolderOf(staging, wavefield::v1::SOURCE_KIND_UNSPECIFIED).string());
  if (!models.empty()) {
    command.push_back("--tokenizer=" + models.front());
  } else if (options.has_tokenizer()) {
    command.push_back("--tokenizer=" + options.tokenizer());
  }
  if (options.has_field()) command.push_back("--field=" + options.field());
  if (options.has_document_separator()) {
    command.push_back("--document-separator=" + absl::CEscape(options.document_separator()));
  }
  return command;
}

// What the tokenizer's lines said.
struct Lines {
  std::string error;
  std::optional<json> summary;
};

// The user knows the sources by the names they were sent under, not by where they were staged.
std::string WithoutStaging(std::string text, const std::filesystem::path& staging) {
  for (int kind = 0; kind < wavefield::v1::SourceKind_ARRAYSIZE; ++kind) {
    const auto folder =
        SourceUpload::FolderOf(staging, static_cast<wavefield::v1::SourceKind>(kind));
    text = absl::StrReplaceAll(text, {{folder.string() + "/", ""}});
  }
  return text;
}

Dataset DatasetOf(const json& summary, const std::filesystem::path& staging) {
  Dataset dataset;
  dataset.set_content_hash(summary.at("content_hash").get<std::string>());
  dataset.set_tokenizer(summary.at("tokenizer").get<std::string>());
  dataset.set_vocab_size(summary.at("vocab_size").get<int32_t>());
  dataset.set_requested_vocab_size(summary.at("requested_vocab_size").get<int32_t>());
  dataset.set_train_tokens(summary.at("train_tokens").get<int64_t>());
  dataset.set_validation_tokens(summary.at("validation_tokens").get<int64_t>());
  dataset.set_documents(summary.at("documents").get<int64_t>());
  dataset.set_text_bytes(summary.at("text_bytes").get<int64_t>());
  for (const auto& message : summary.value("messages", json::array())) {
    if (dataset.warnings_size() < kMaxWarnings) {
      dataset.add_warnings(Shortened(WithoutStaging(message.get<std::string>(), staging), 500));
    }
  }
  return dataset;
}

// True while the run should go on.
bool TakeLine(const std::string& line, Lines& lines,
              const std::function<bool(const DatasetProgress&)>& progress) {
  const json object = json::parse(line, nullptr, false);
  if (!object.is_object()) return true;
  const std::string stage = object.value("stage", "");
  if (stage == "error") {
    lines.error = object.value("message", "");
    return true;
  }
  if (stage == "done") lines.summary = object;
  DatasetProgress message;
  message.set_stage(stage);
  message.set_done(object.value("done", int64_t{0}));
  message.set_total(object.value("total", int64_t{0}));
  return progress(message);
}

}  // namespace

absl::StatusOr<Dataset> RunTokenizer(const std::filesystem::path& program,
                                     const std::filesystem::path& staging,
                                     const std::filesystem::path& output,
                                     const wavefield::v1::CreateDatasetConfig& config,
                                     const std::function<bool(const DatasetProgress&)>& progress) {
  WF_ASSIGN_OR_RETURN(auto sockets, SocketPair());
  ProcessOptions options;
  options.command = Command(program, staging, output, config);
  options.stdout_fd = sockets.second.get();
  WF_ASSIGN_OR_RETURN(Subprocess process, Subprocess::Start(options));
  sockets.second.Close();

  Lines lines;
  DatasetProgress last;
  std::string buffer;
  while (true) {
    pollfd descriptor{sockets.first.get(), POLLIN, 0};
    const int ready = ::poll(&descriptor, 1, kPollMilliseconds);
    bool go_on = true;
    if (ready == 0) {
      go_on = progress(last);
    } else if (ready > 0) {
      char bytes[4096];
      const ssize_t count = ::read(sockets.first.get(), bytes, sizeof(bytes));
      if (count <= 0) break;
      buffer.append(bytes, static_cast<size_t>(count));
      for (size_t end; go_on && (end = buffer.find('\n')) != std::string::npos;) {
        go_on = TakeLine(buffer.substr(0, end), lines, [&](const DatasetProgress& message) {
          last = message;
          return progress(message);
        });
        buffer.erase(0, end + 1);
      }
      if (buffer.size() > kMaxLineBytes)
        return absl::InternalError("the tokenizer wrote an endless line");
    } else if (errno != EINTR) {
      return ErrnoToStatus(errno, "cannot wait for the tokenizer");
    }
    if (!go_on) {
      process.Stop(absl::Seconds(5));
      return absl::CancelledError("the preparation was cancelled");
    }
  }
  const auto exit = process.Wait(absl::Seconds(30));
  if (!lines.error.empty()) {
    return absl::InvalidArgumentError(WithoutStaging(lines.error, staging));
  }
  if (!exit || exit->code != 0) {
    return absl::InternalError("the tokenizer ended with " +
                               (exit ? exit->ToString() : "nothing at all"));
  }
  if (!lines.summary) return absl::InternalError("the tokenizer did not say what it made");
  try {
    return DatasetOf(*lines.summary, staging);
  } catch (const json::exception& error) {
    return absl::InternalError(
        fmt::format("the tokenizer's summary is incomplete: {}", error.what()));
  }
}

absl::StatusOr<DatasetRecord> CatalogueDataset(const Dataset& dataset,
                                               const std::filesystem::path& directory) {
  DatasetRecord record;
  *record.mutable_dataset() = dataset;
  std::error_code error;
  for (std::filesystem::recursive_directory_iterator entry(directory, error), end;
       !error && entry != end; entry.increment(error)) {
    if (!entry->is_regular_file(error)) continue;
    auto& file = *record.add_files();
    file.set_path(entry->path().lexically_relative(directory).string());
    file.set_bytes(static_cast<int64_t>(entry->file_size(error)));
  }
  if (error) return ErrnoToStatus(error.value(), fmt::format("cannot list {}", directory.string()));
  return record;
}

}  // namespace wavefield::coordinator
