#include "core/data/tokenizer/corpus.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <unistd.h>
#include <zlib.h>

#include "core/base/checksum.h"
#include "tests/core/data/tokenizer/sample_text.h"

namespace wavefield {
namespace {

using testing::ElementsAre;
using testing::HasSubstr;

std::string Gzip(const std::string& text) {
  std::string out(compressBound(text.size()) + 64, '\0');
  z_stream stream{};
  EXPECT_EQ(deflateInit2(&stream, 6, Z_DEFLATED, 15 + 16, 8, Z_DEFAULT_STRATEGY), Z_OK);
  stream.next_in = reinterpret_cast<Bytef*>(const_cast<char*>(text.data()));
  stream.avail_in = static_cast<uInt>(text.size());
  stream.next_out = reinterpret_cast<Bytef*>(out.data());
  stream.avail_out = static_cast<uInt>(out.size());
  EXPECT_EQ(deflate(&stream, Z_FINISH), Z_STREAM_END);
  out.resize(stream.total_out);
  deflateEnd(&stream);
  return out;
}

class CorpusTest : public testing::Test {
 protected:
  absl::StatusOr<Corpus> Read(std::vector<std::filesystem::path> inputs) {
    options_.inputs = std::move(inputs);
    return ReadCorpus(options_, scratch_.path() / "spool",
                      [](int64_t done, int64_t total) { EXPECT_LE(done, total); });
  }
  std::vector<std::string> Documents(std::vector<std::filesystem::path> inputs) {
    auto corpus = Read(std::move(inputs));
    EXPECT_TRUE(corpus.ok()) << corpus.status();
    if (!corpus.ok()) return {};
    std::vector<std::string> documents;
    for (const auto& [offset, length] : corpus->documents) {
      documents.emplace_back(corpus->text.bytes().substr(offset, length));
    }
    return documents;
  }
  std::string Error(std::vector<std::filesystem::path> inputs) {
    return std::string(Read(std::move(inputs)).status().message());
  }

  ScratchDirectory scratch_;
  CorpusOptions options_;
};

TEST_F(CorpusTest, ATextFileIsOneDocument) {
  EXPECT_THAT(Documents({scratch_.Write("a.txt", "one\n\ntwo\n")}), ElementsAre("one\n\ntwo\n"));
}

TEST_F(CorpusTest, ASeparatorCutsTextFilesOnly) {
  options_.separator = "--\n";
  const auto text = scratch_.Write("a.txt", "--\none\n--\n--\ntwo--\nthree");
  const auto lines = scratch_.Write("b.jsonl", "{\"text\": \"x--\\ny\"}\n");
  auto corpus = Read({text, lines, text});
  ASSERT_TRUE(corpus.ok()) << corpus.status();
  EXPECT_THAT(Documents({text, lines, text}),
              ElementsAre("one\n", "two", "three", "x--\ny", "one\n", "two", "three"));
  EXPECT_EQ(corpus->sources[0].documents, 3);
  EXPECT_EQ(corpus->sources[0].text_bytes, 12);
  EXPECT_EQ(corpus->sources[1].documents, 1);
}

TEST_F(CorpusTest, JsonLinesGiveADocumentEach) {
  options_.field = "body";
  EXPECT_THAT(Documents({scratch_.Write("a.jsonl",
                                        "{\"body\": \"one\\ntwo\", \"id\": 1}\r\n\n"
                                        "{\"body\": \"\"}\n{\"body\": \"\\u00e9\"}")}),
              ElementsAre("one\ntwo", "é"));
}

TEST_F(CorpusTest, ABadLineIsNamedByItsNumber) {
  const std::string good = "{\"text\": \"x\"}\n";
  const std::pair<const char*, const char*> cases[] = {
      {"{\"text\": \"x\"", "not valid JSON"},
      {"[1]", "must be an object"},
      {"{\"txt\": \"x\", \"id\": 7}", "no field 'text' (it has 'id', 'txt')"},
      {"{\"text\": 7}", "field 'text' is a number; it must be a string"},
      {"{\"text\": \"\\ud800\"}", "not valid JSON"},
  };
  for (const auto& [line, reason] : cases) {
    const std::string error =
        Error({scratch_.Write("bad.jsonl", good + "\n" + good + line + "\n" + good)});
    EXPECT_THAT(error, HasSubstr("bad.jsonl: line 4: ")) << line;
    EXPECT_THAT(error, HasSubstr(reason)) << line;
  }
}

TEST_F(CorpusTest, ReadsGzipOfEveryKind) {
  SeededRandom random;
  const std::string text = SampleText(random, 3'000'000);
  const std::string half = text.substr(0, 1'500'000);
  const auto members = Gzip(half) + Gzip(text.substr(half.size()));
  EXPECT_THAT(Documents({scratch_.Write("a.txt.gz", Gzip(text))}), ElementsAre(text));
  EXPECT_THAT(Documents({scratch_.Write("b.txt.gz", members)}), ElementsAre(text));
  EXPECT_THAT(Documents({scratch_.Write("c.dict.dz", Gzip(text))}), ElementsAre(text));
  EXPECT_THAT(Documents({scratch_.Write("d.jsonl.gz", Gzip("{\"text\": \"x\"}\n"))}),
              ElementsAre("x"));
}

TEST_F(CorpusTest, DamagedGzipIsRefusedWithThePlace) {
  SeededRandom random;
  const std::string good = Gzip(SampleText(random, 100'000));
  for (const size_t size : {size_t{0}, size_t{5}, good.size() / 2, good.size() - 1}) {
    auto corpus = Read({scratch_.Write("t.txt.gz", good.substr(0, size))});
    EXPECT_TRUE(absl::IsDataLoss(corpus.status())) << size << ": " << corpus.status();
    EXPECT_THAT(std::string(corpus.status().message()),
                HasSubstr("end at byte " + std::to_string(size)));
  }
  std::string flipped = good;
  flipped[good.size() - 6] ^= 1;  // of its checksum
  EXPECT_TRUE(absl::IsDataLoss(Read({scratch_.Write("f.txt.gz", flipped)}).status()));
  EXPECT_THAT(Error({scratch_.Write("p.txt.gz", "plain text")}),
              HasSubstr("not sound gzip data at byte"));
}

TEST_F(CorpusTest, SourcesCarryHashSizeAndCounts) {
  const auto path = scratch_.Write("a.txt.gz", Gzip("h\xE9llo \x80 x"));
  auto corpus = Read({path});
  ASSERT_TRUE(corpus.ok()) << corpus.status();
  ASSERT_EQ(corpus->sources.size(), 1u);
  const SourceManifest& source = corpus->sources[0];
  EXPECT_EQ(source.path, path.string());
  EXPECT_EQ(source.bytes, static_cast<int64_t>(std::filesystem::file_size(path)));
  EXPECT_EQ(source.sha256, *Sha256HexOfFile(path));
  EXPECT_EQ(source.invalid_utf8, 2);
  EXPECT_EQ(source.first_invalid_offset, 1);
  EXPECT_EQ(corpus->text.bytes(), "h\xEF\xBF\xBDllo \xEF\xBF\xBD x");
}

TEST_F(CorpusTest, FoldersAreReadInOrderAndTellWhatTheyIgnore) {
  scratch_.Write("in/b/2.txt", "2");
  scratch_.Write("in/b/1.jsonl", "{\"text\": \"1\"}");
  scratch_.Write("in/a.txt.gz", Gzip("0"));
  scratch_.Write("in/c.txt", "3");
  scratch_.Write("in/empty.txt", "");
  scratch_.Write("in/picture.png", "x");
  scratch_.Write("in/b/data.csv.gz", "x");
  auto corpus = Read({scratch_.path() / "in"});
  ASSERT_TRUE(corpus.ok()) << corpus.status();
  EXPECT_EQ(corpus->text.bytes(), "0123");
  EXPECT_THAT(corpus->ignored, ElementsAre(HasSubstr("data.csv.gz"), HasSubstr("picture.png")));
}

TEST_F(CorpusTest, AFileNamedItselfIsTextWhateverItsExtension) {
  EXPECT_THAT(Documents({scratch_.Write("poem.md", "x"), scratch_.Write("noname", "y")}),
              ElementsAre("x", "y"));
}

TEST_F(CorpusTest, AByteOrderMarkIsNoText) {
  EXPECT_THAT(Documents({scratch_.Write("a.txt", "\xEF\xBB\xBFx\xEF\xBB\xBF")}),
              ElementsAre("x\xEF\xBB\xBF"));
}

TEST_F(CorpusTest, BinaryInputIsRefused) {
  SeededRandom random;
  std::string noise;
  for (int i = 0; i < 5000; ++i) noise += static_cast<char>(random.Below(256));
  std::string utf16;
  for (const char c : std::string("wide text, two bytes a letter")) utf16 += {c, '\0'};
  for (const std::string& binary : {noise, utf16, std::string(100, '\xFF')}) {
    EXPECT_THAT(Error({scratch_.Write("b.txt", binary)}),
                HasSubstr("b.txt looks like binary data"));
  }
}

TEST_F(CorpusTest, BinaryDataAfterTextAreRefusedWithThePlace) {
  const std::string text(1 << 20, 'x');
  EXPECT_THAT(Error({scratch_.Write("b.txt", text + text + std::string(5000, '\0'))}),
              HasSubstr("bytes 2097152 to"));
}

TEST_F(CorpusTest, NoInputNoTextNoFile) {
  EXPECT_THAT(Error({scratch_.Write("empty.txt", "")}), HasSubstr("the input is empty"));
  EXPECT_THAT(Error({scratch_.Write("empty.jsonl", "\n \n{\"text\": \"\"}\n")}),
              HasSubstr("the input is empty"));
  std::filesystem::create_directory(scratch_.path() / "folder");
  EXPECT_TRUE(absl::IsNotFound(Read({scratch_.path() / "folder"}).status()));
  EXPECT_TRUE(absl::IsNotFound(Read({scratch_.path() / "missing.txt"}).status()));
  EXPECT_THAT(Error({scratch_.path() / "missing.txt"}), HasSubstr("missing.txt"));
}

}  // namespace
}  // namespace wavefield
