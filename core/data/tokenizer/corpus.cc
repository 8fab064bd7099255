#include "core/data/tokenizer/corpus.h"

#include <fcntl.h>

#include <algorithm>
#include <cerrno>
#include <utility>

#include "absl/strings/str_cat.h"
#include "core/base/file.h"
#include "core/base/json_errors.h"
#include "core/base/status_macros.h"
#include "core/base/suggest.h"
#include "core/data/tokenizer/byte_source.h"
#include "core/data/tokenizer/inputs.h"
#include "core/data/tokenizer/utf8.h"

namespace wavefield {
namespace {

constexpr size_t kChunkBytes = 1 << 20;
constexpr size_t kMaxLineBytes = size_t{256} << 20;
constexpr std::string_view kByteOrderMark = "\xEF\xBB\xBF";

// The file that all text goes to.
class Spool {
 public:
  static absl::StatusOr<Spool> Create(const std::filesystem::path& path) {
    FileDescriptor fd(::open(path.c_str(), O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0644));
    if (!fd.valid()) return ErrnoToStatus(errno, absl::StrCat("cannot create ", path.string()));
    return Spool(path, std::move(fd));
  }

  uint64_t size() const { return size_; }

  absl::Status Append(std::string_view text) {
    size_ += text.size();
    buffer_.append(text);
    return buffer_.size() < kChunkBytes ? absl::OkStatus() : Flush();
  }

  absl::Status Flush() {
    WF_RETURN_IF_ERROR(WriteAll(fd_.get(), path_, buffer_));
    buffer_.clear();
    return absl::OkStatus();
  }

 private:
  Spool(std::filesystem::path path, FileDescriptor fd)
      : path_(std::move(path)), fd_(std::move(fd)) {}

  std::filesystem::path path_;
  FileDescriptor fd_;
  uint64_t size_ = 0;
  std::string buffer_;
};

std::string FieldNames(const nlohmann::json& object) {
  std::string names;
  for (const auto& [key, value] : object.items()) {
    if (names.size() > 200) return names + ", …";
    absl::StrAppend(&names, names.empty() ? "" : ", ", "'", key, "'");
  }
  return names.empty() ? "no fields" : names;
}

// The text of one line of .jsonl.
absl::StatusOr<std::string> ParseLine(const std::string& line, const std::string& field) {
  nlohmann::json json;
  try {
    json = nlohmann::json::parse(line);
  } catch (const nlohmann::json::exception& error) {
    return absl::InvalidArgumentError(absl::StrCat("not valid JSON: ", JsonErrorText(error)));
  }
  if (!json.is_object()) {
    return absl::InvalidArgumentError(
        absl::StrCat("a JSON ", json.type_name(), "; each line must be an object"));
  }
  const auto found = json.find(field);
  if (found == json.end()) {
    return absl::InvalidArgumentError(absl::StrCat("no field '", field, "' (it has ",
                                                   FieldNames(json),
                                                   "); choose the one with the text by --field"));
  }
  if (!found->is_string()) {
    return absl::InvalidArgumentError(
        absl::StrCat("field '", field, "' is a ", found->type_name(), "; it must be a string"));
  }
  return found->get<std::string>();
}

class CorpusReader {
 public:
  CorpusReader(const CorpusOptions& options, Spool spool)
      : options_(options), spool_(std::move(spool)) {}

  absl::Status Read(const InputFile& file, const std::function<void(int64_t)>& progress);
  // Maps the spool and cuts text files at the separator.
  absl::StatusOr<Corpus> Finish(const std::filesystem::path& spool);

 private:
  absl::Status AddLines(const InputFile& file, bool last);
  absl::Status AddLine(const InputFile& file, const std::string& line);

  const CorpusOptions& options_;
  Spool spool_;
  std::vector<SourceManifest> sources_;
  std::vector<TextRange> documents_;
  std::vector<size_t> document_sources_;  // of each document; kept for text files only
  std::vector<size_t> text_documents_;    // indices into documents_

  std::string pending_;  // clean text of the current file that is not in the spool yet
  int64_t line_ = 0;
};

absl::Status CheckIsText(const InputFile& file, const Utf8Cleaner& before, const Utf8Cleaner& after,
                         int64_t chunk_begin, size_t chunk_bytes) {
  const auto bytes = static_cast<int64_t>(chunk_bytes);
  const int64_t nuls = after.nul_bytes() - before.nul_bytes();
  const int64_t invalid = after.invalid() - before.invalid();
  if (nuls * 1000 <= bytes && (invalid < 8 || invalid * 10 <= bytes)) return absl::OkStatus();
  return absl::InvalidArgumentError(absl::StrCat(
      file.path.string(), " looks like binary data, not UTF-8 text: bytes ", chunk_begin, " to ",
      chunk_begin + bytes, " hold ", nuls, " NUL bytes and ", invalid,
      " invalid sequences; convert it to UTF-8 (or name it .gz if it is compressed)"));
}

absl::Status CorpusReader::Read(const InputFile& file,
                                const std::function<void(int64_t)>& progress) {
  WF_ASSIGN_OR_RETURN(const auto bytes, ByteSource::Open(file.path, file.gzip));
  SourceManifest& source = sources_.emplace_back();
  source.path = file.path.string();
  const uint64_t begin = spool_.size();
  Utf8Cleaner cleaner;
  std::vector<char> chunk(kChunkBytes);
  int64_t offset = 0;
  bool last = false;
  line_ = 0;
  pending_.clear();
  while (!last) {
    WF_ASSIGN_OR_RETURN(const size_t got, bytes->Read(chunk));
    last = got < chunk.size();
    const bool first = offset == 0;
    const Utf8Cleaner before = cleaner;
    cleaner.Feed({chunk.data(), got}, pending_);
    if (last) cleaner.Finish(pending_);
    WF_RETURN_IF_ERROR(CheckIsText(file, before, cleaner, offset, got));
    if (first && pending_.starts_with(kByteOrderMark)) pending_.erase(0, kByteOrderMark.size());
    offset += static_cast<int64_t>(got);
    if (file.format == InputFormat::kJsonLines) {
      WF_RETURN_IF_ERROR(AddLines(file, last));
    } else {
      WF_RETURN_IF_ERROR(spool_.Append(pending_));
      pending_.clear();
    }
    progress(bytes->file_bytes());
  }
  if (file.format == InputFormat::kText && spool_.size() > begin) {
    text_documents_.push_back(documents_.size());
    document_sources_.push_back(sources_.size() - 1);
    documents_.push_back({begin, spool_.size() - begin});
    source.documents = 1;
  }
  source.bytes = bytes->file_bytes();
  source.sha256 = bytes->FileSha256();
  source.text_bytes = static_cast<int64_t>(spool_.size() - begin);
  source.invalid_utf8 = cleaner.invalid();
  source.first_invalid_offset = cleaner.first_invalid_offset();
  return absl::OkStatus();
}

absl::Status CorpusReader::AddLines(const InputFile& file, bool last) {
  size_t begin = 0;
  for (size_t end; (end = pending_.find('\n', begin)) != std::string::npos; begin = end + 1) {
    WF_RETURN_IF_ERROR(AddLine(file, pending_.substr(begin, end - begin)));
  }
  pending_.erase(0, begin);
  if (last && !pending_.empty()) return AddLine(file, std::exchange(pending_, {}));
  if (pending_.size() > kMaxLineBytes) {
    return absl::InvalidArgumentError(absl::StrCat(file.path.string(), ": line ", line_ + 1,
                                                   " is longer than the limit of ", kMaxLineBytes,
                                                   " bytes"));
  }
  return absl::OkStatus();
}

absl::Status CorpusReader::AddLine(const InputFile& file, const std::string& line) {
  ++line_;
  if (line.find_first_not_of(" \t\r") == std::string::npos) return absl::OkStatus();
  auto text = ParseLine(line, options_.field);
  if (!text.ok()) {
    return absl::InvalidArgumentError(
        absl::StrCat(file.path.string(), ": line ", line_, ": ", text.status().message()));
  }
  if (text->empty()) return absl::OkStatus();
  documents_.push_back({spool_.size(), text->size()});
  ++sources_.back().documents;
  return spool_.Append(*text);
}

absl::StatusOr<Corpus> CorpusReader::Finish(const std::filesystem::path& spool) {
  WF_RETURN_IF_ERROR(spool_.Flush());
  Corpus corpus;
  WF_ASSIGN_OR_RETURN(corpus.text, MappedFile::Open(spool));
  corpus.sources = std::move(sources_);
  if (options_.separator.empty() || text_documents_.empty()) {
    corpus.documents = std::move(documents_);
    return corpus;
  }
  size_t next_text = 0;
  for (size_t i = 0; i < documents_.size(); ++i) {
    if (next_text == text_documents_.size() || text_documents_[next_text] != i) {
      corpus.documents.push_back(documents_[i]);
      continue;
    }
    SourceManifest& source = corpus.sources[document_sources_[next_text++]];
    source.documents = 0;
    source.text_bytes = 0;
    const auto add = [&](uint64_t offset, uint64_t length) {
      if (length == 0) return;
      corpus.documents.push_back({offset, length});
      source.documents += 1;
      source.text_bytes += static_cast<int64_t>(length);
    };
    const auto [offset, length] = documents_[i];
    const std::string_view text = corpus.text.bytes().substr(offset, length);
    size_t begin = 0;
    for (size_t end; (end = text.find(options_.separator, begin)) != std::string_view::npos;
         begin = end + options_.separator.size()) {
      add(offset + begin, end - begin);
    }
    add(offset + begin, length - begin);
  }
  return corpus;
}

}  // namespace

absl::StatusOr<Corpus> ReadCorpus(const CorpusOptions& options, const std::filesystem::path& spool,
                                  const std::function<void(int64_t, int64_t)>& progress) {
  WF_ASSIGN_OR_RETURN(InputList inputs, ListInputs(options.inputs));
  int64_t total = 0;
  for (const InputFile& file : inputs.files) total += file.bytes;
  WF_ASSIGN_OR_RETURN(Spool file, Spool::Create(spool));
  CorpusReader reader(options, std::move(file));
  int64_t done = 0;
  for (const InputFile& input : inputs.files) {
    int64_t read = 0;
    WF_RETURN_IF_ERROR(reader.Read(input, [&](int64_t bytes) {
      read = bytes;
      progress(done + read, std::max(total, done + read));
    }));
    done += read;
  }
  WF_ASSIGN_OR_RETURN(Corpus corpus, reader.Finish(spool));
  corpus.ignored = std::move(inputs.ignored);
  if (corpus.documents.empty()) {
    return absl::InvalidArgumentError(
        absl::StrCat("the input is empty: there is no text in ", inputs.files.size(),
                     inputs.files.size() == 1 ? " file (" : " files, the first of which is (",
                     inputs.files[0].path.string(), ")"));
  }
  return corpus;
}

}  // namespace wavefield
