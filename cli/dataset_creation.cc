#include "cli/dataset_creation.h"

#include <fmt/format.h>

#include <cstdio>
#include <string>

#include "cli/dataset_upload.h"
#include "cli/exit_code.h"
#include "cli/resource_names.h"
#include "cli/views/format.h"
#include "cli/views/progress_bar.h"
#include "core/base/status_macros.h"
#include "proto/rpc/json.h"

namespace wavefield {
namespace {

// Stages on stderr: a bar on a terminal, else a line each.
class StageProgress {
 public:
  void Show(const std::string& stage, int64_t done, int64_t total) {
    const std::string text = Describe(stage);
    if (stage != stage_) {
      stage_ = stage;
      bar_.Clear();
      if (!bar_.live() && stage != "done") std::fprintf(stderr, "%s\n", text.c_str());
    }
    const double fraction = total > 0 ? static_cast<double>(done) / static_cast<double>(total) : -1;
    const bool tokens = stage == "check" || stage == "write";
    const auto amount = [&](int64_t value) {
      return tokens ? FormatCompact(static_cast<double>(value))
                    : FormatBytes(static_cast<double>(value));
    };
    bar_.Draw(fraction, fmt::format("{}  {} of {}", text, amount(done), amount(total)));
  }
  void Clear() { bar_.Clear(); }

 private:
  static std::string Describe(const std::string& stage) {
    if (stage == "hash") return "hashing the files";
    if (stage == "upload") return "sending the files";
    if (stage == "read") return "reading the text";
    if (stage == "train") return "training the tokenizer";
    if (stage == "encode") return "encoding";
    if (stage == "check") return "checking the tokens";
    if (stage == "write") return "writing the tokens";
    return stage;
  }

  ProgressBar bar_{stderr};
  std::string stage_;
};

void PrintDataset(const UploadResult& result) {
  const v1::Dataset& dataset = result.dataset;
  const std::string id = ResourceId(dataset.name());
  if (result.existed) std::printf("%s is already prepared.\n", id.c_str());
  const std::string documents =
      dataset.documents() > 0
          ? fmt::format(" from {} documents", FormatInteger(dataset.documents()))
          : "";
  const std::string text = dataset.text_bytes() > 0
                               ? FormatBytes(static_cast<double>(dataset.text_bytes()))
                               : "bytes of text not known";
  fmt::print("{}: {} training and {} validation tokens{} ({}), {}, vocabulary {}\n", id,
             FormatInteger(dataset.train_tokens()), FormatInteger(dataset.validation_tokens()),
             documents, text,
             dataset.tokenizer() == "ids" ? "no tokenizer" : dataset.tokenizer() + " tokenizer",
             FormatInteger(dataset.vocab_size()));
  for (const std::string& warning : dataset.warnings())
    std::printf("warning: %s\n", warning.c_str());
}

}  // namespace

absl::StatusOr<int> CreateAndPrintDataset(const ConnectionFlags& connection,
                                          v1::CreateDatasetConfig config,
                                          std::vector<LocalSource> sources, bool json) {
  WF_ASSIGN_OR_RETURN(const Session session, Session::Open(connection));
  int64_t total = 0;
  for (const LocalSource& source : sources) total += source.bytes;
  StageProgress progress;
  WF_RETURN_IF_ERROR(
      HashSources(sources, [&](int64_t done) { progress.Show("hash", done, total); }));
  for (const LocalSource& source : sources) {
    v1::SourceFile* file = config.add_sources();
    file->set_path(source.path);
    file->set_bytes(source.bytes);
    file->set_sha256(source.sha256);
    file->set_kind(source.kind);
  }
  const auto show = [&](const v1::DatasetProgress& p) {
    progress.Show(p.stage(), p.done(), p.total());
  };
  absl::StatusOr<UploadResult> result = UploadDataset(session, config, sources, show);
  progress.Clear();
  WF_RETURN_IF_ERROR(result.status());
  if (json) {
    std::printf("%s", ToJson(result->dataset, true).c_str());
  } else {
    PrintDataset(*result);
  }
  return kExitSuccess;
}

}  // namespace wavefield
