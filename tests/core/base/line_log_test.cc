#include "core/base/line_log.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <fstream>
#include <random>

#include "core/base/file.h"
#include "tests/core/base/temporary_directory.h"

namespace wavefield {
namespace {

using ::testing::ElementsAre;

NumberedLine Line(int64_t number, const std::string& text) {
  return {number, absl::FromUnixSeconds(1'700'000'000 + number), text};
}

class LineLogTest : public testing::Test {
 protected:
  void Open(int64_t segment_bytes = 100) {
    log_.reset();
    auto log = LineLog::Open(Folder(), {.segment_bytes = segment_bytes});
    ASSERT_TRUE(log.ok()) << log.status();
    log_ = *std::move(log);
  }
  std::filesystem::path Folder() const { return directory_.path() / "log"; }

  void Append(int64_t first, int count) {
    for (int64_t number = first; number < first + count; ++number) {
      ASSERT_TRUE(log_->Append({Line(number, "line " + std::to_string(number))}).ok());
    }
  }

  // Numbers from `position` on, read in as many calls as it takes.
  std::vector<int64_t> ReadOn(LinePosition& position, int64_t max_bytes = 0) const {
    std::vector<int64_t> numbers;
    std::vector<NumberedLine> lines;
    do {
      EXPECT_TRUE(log_->Read(position, max_bytes, lines).ok());
      for (const NumberedLine& line : lines) {
        EXPECT_EQ(line.text, "line " + std::to_string(line.number));
        EXPECT_EQ(line.time, Line(line.number, "").time);
        numbers.push_back(line.number);
      }
    } while (!lines.empty());
    return numbers;
  }
  std::vector<int64_t> Read(int64_t from = 0) const {
    LinePosition position{.next = from};
    return ReadOn(position);
  }

  std::vector<std::filesystem::path> Files() const {
    std::vector<std::filesystem::path> files;
    for (const auto& entry : std::filesystem::directory_iterator(Folder())) {
      files.push_back(entry.path());
    }
    std::sort(files.begin(), files.end());
    return files;
  }

  TemporaryDirectory directory_;
  std::unique_ptr<LineLog> log_;
};

TEST_F(LineLogTest, KeepsLinesOverAnEndOfTheProcess) {
  Open();
  Append(0, 10);
  EXPECT_GT(Files().size(), 2u) << "several files";
  Open();
  EXPECT_EQ(log_->next(), 10);
  Append(10, 5);
  EXPECT_EQ(Read().size(), 15u);
  EXPECT_THAT(Read(12), ElementsAre(12, 13, 14));
  EXPECT_THAT(Read(15), ElementsAre());
}

TEST_F(LineLogTest, AnyTextOfOneLineComesBackAsItWas) {
  Open();
  const std::string text = std::string("a\0b", 3) + " \r\t ä 5 6 ";
  ASSERT_TRUE(log_->Append({Line(0, ""), Line(1, text), Line(2, std::string(4096, 'x'))}).ok());
  Open();
  LinePosition position;
  std::vector<NumberedLine> lines;
  ASSERT_TRUE(log_->Read(position, 1 << 20, lines).ok());
  ASSERT_EQ(lines.size(), 3u);
  EXPECT_EQ(lines[0].text, "");
  EXPECT_EQ(lines[1].text, text);
  EXPECT_EQ(lines[2].text.size(), 4096u);
}

TEST_F(LineLogTest, AReaderSeesWhatIsAppendedBehindIt) {
  Open();
  LinePosition position;
  EXPECT_THAT(ReadOn(position), ElementsAre());
  Append(0, 3);
  EXPECT_THAT(ReadOn(position), ElementsAre(0, 1, 2));
  Append(3, 9);
  EXPECT_THAT(ReadOn(position), ElementsAre(3, 4, 5, 6, 7, 8, 9, 10, 11));
  EXPECT_THAT(ReadOn(position), ElementsAre());
}

TEST_F(LineLogTest, OneLongAppendFillsManyFiles) {
  Open();
  std::vector<NumberedLine> lines;
  for (int64_t number = 0; number < 100; ++number) {
    lines.push_back(Line(number, "line " + std::to_string(number)));
  }
  ASSERT_TRUE(log_->Append(lines).ok());
  for (const auto& file : Files()) EXPECT_LE(std::filesystem::file_size(file), 140u);
  EXPECT_EQ(Read().size(), 100u);
}

TEST_F(LineLogTest, NumbersThatJumpTellOfLostLines) {
  Open();
  Append(0, 2);
  Append(50, 2);
  Open();
  EXPECT_THAT(Read(), ElementsAre(0, 1, 50, 51));
  EXPECT_THAT(Read(30), ElementsAre(50, 51));
}

TEST_F(LineLogTest, CutsOffATornOrDamagedEndWhereverItIs) {
  Open(1 << 20);
  Append(0, 20);
  const std::filesystem::path file = Files().back();
  const std::string whole = *ReadFile(file);
  for (size_t size = 0; size <= whole.size(); ++size) {
    std::filesystem::resize_file(file, size);
    Open(1 << 20);
    const auto complete = std::count(whole.begin(), whole.begin() + static_cast<long>(size), '\n');
    ASSERT_EQ(log_->next(), complete) << size;
    ASSERT_EQ(static_cast<long>(Read().size()), complete) << size;
    Append(complete, 1);
    ASSERT_EQ(static_cast<long>(Read().size()), complete + 1) << size;
    ASSERT_TRUE(WriteFileAtomically(file, whole).ok());
  }
  for (const char* tail : {"20 12", "no line\n", "3 1 a number that came before\n", "\n"}) {
    ASSERT_TRUE(WriteFileAtomically(file, whole + tail).ok());
    Open(1 << 20);
    EXPECT_EQ(log_->next(), 20) << tail;
    EXPECT_EQ(*ReadFile(file), whole) << tail;
  }
  ASSERT_TRUE(WriteFileAtomically(file, whole + std::string(4096, '\0')).ok());
  Open(1 << 20);
  EXPECT_EQ(log_->next(), 20) << "as a crash of the machine leaves it";
}

TEST_F(LineLogTest, DamageInTheMiddleCostsTheRestOfThatFileAlone) {
  Open(200);
  Append(0, 30);
  const std::vector<std::filesystem::path> files = Files();
  ASSERT_GE(files.size(), 3u);
  std::fstream file(files[1], std::ios::in | std::ios::out);
  file.seekp(0);
  file << "?";
  file.close();
  const std::vector<int64_t> left = Read();
  EXPECT_LT(left.size(), 30u);
  EXPECT_EQ(left.front(), 0);
  EXPECT_EQ(left.back(), 29);
}

TEST_F(LineLogTest, DropsTheOldestAndNeverForgetsTheNextNumber) {
  Open();
  Append(0, 10);
  int64_t bytes = log_->bytes();
  std::vector<int64_t> left = Read();
  while (log_->DropOldest()) {
    EXPECT_LT(log_->bytes(), bytes);
    bytes = log_->bytes();
    const std::vector<int64_t> now = Read();
    EXPECT_LT(now.size(), left.size());
    EXPECT_TRUE(std::equal(now.rbegin(), now.rend(), left.rbegin()));
    left = now;
  }
  EXPECT_EQ(bytes, 0);
  EXPECT_EQ(log_->oldest(), absl::InfiniteFuture());
  Open();
  EXPECT_EQ(log_->next(), 10);
  Append(10, 1);
  EXPECT_THAT(Read(), ElementsAre(10));
}

TEST_F(LineLogTest, DropsWhatIsBeforeALineAndNothingElse) {
  Open();
  Append(0, 10);
  for (int64_t number = 0; number <= 10; ++number) {
    log_->DropBefore(number);
    const std::vector<int64_t> left = Read(number);
    EXPECT_EQ(static_cast<int64_t>(left.size()), 10 - number);
  }
  EXPECT_EQ(log_->bytes(), 0);
  EXPECT_EQ(log_->next(), 10);
}

TEST_F(LineLogTest, ReadersGoOnWhereFilesVanishUnderThem) {
  const uint64_t seed = std::random_device()();
  SCOPED_TRACE(seed);
  std::mt19937_64 random(seed);
  Open();
  LinePosition position;
  int64_t appended = 0;
  int64_t last = -1;
  for (int i = 0; i < 2000; ++i) {
    switch (random() % 4) {
      case 0:
        log_->DropOldest();
        break;
      case 1: {
        std::vector<NumberedLine> lines;
        ASSERT_TRUE(log_->Read(position, 0, lines).ok());
        for (const NumberedLine& line : lines) {
          ASSERT_GT(line.number, last);
          last = line.number;
        }
        break;
      }
      default:
        appended += static_cast<int64_t>(random() % 2);
        Append(appended++, 1);
    }
  }
  Append(appended, 1);
  ASSERT_THAT(ReadOn(position), testing::Contains(appended));
}

}  // namespace
}  // namespace wavefield
