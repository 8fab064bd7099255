// A disk whose fsync fails, injected beneath SQLite.
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <sqlite3.h>

#include <atomic>
#include <cstring>

#include "coordinator/store/sqlite_store.h"
#include "tests/coordinator/record_fixtures.h"
#include "tests/core/base/temporary_directory.h"

namespace wavefield::coordinator {
namespace {

std::atomic<bool> failing_sync = false;
sqlite3_io_methods failing_methods;
sqlite3_io_methods original_methods;

int FailingSync(sqlite3_file* file, int flags) {
  return failing_sync ? SQLITE_IOERR_FSYNC : original_methods.xSync(file, flags);
}

int (*original_open)(sqlite3_vfs*, const char*, sqlite3_file*, int, int*);

int OpenWithFailingSync(sqlite3_vfs* vfs, const char* name, sqlite3_file* file, int flags,
                        int* out) {
  const int result = original_open(vfs, name, file, flags, out);
  if (result == SQLITE_OK && (flags & SQLITE_OPEN_WAL) != 0) {
    original_methods = *file->pMethods;
    failing_methods = original_methods;
    failing_methods.xSync = &FailingSync;
    file->pMethods = &failing_methods;
  }
  return result;
}

// The default VFS, with a sync of the write-ahead log that can be made to fail.
class FailingDisk {
 public:
  FailingDisk() : vfs_(*sqlite3_vfs_find(nullptr)) {
    original_open = vfs_.xOpen;
    vfs_.xOpen = &OpenWithFailingSync;
    vfs_.zName = "failing-sync";
    sqlite3_vfs_register(&vfs_, 1);
  }
  ~FailingDisk() {
    failing_sync = false;
    sqlite3_vfs_unregister(&vfs_);
  }

 private:
  sqlite3_vfs vfs_;
};

TEST(DiskFailure, AFailedSyncClosesTheStoreAndKeepsWhatWasAcknowledged) {
  TemporaryDirectory directory;
  const auto path = directory.path() / "coordinator.db";
  const auto put = [](Store& store, const std::string& id) {
    JobRecord record = QueuedJob(id);
    return store.Write([&](Transaction& transaction) { return transaction.PutJob(record); });
  };
  {
    FailingDisk disk;
    int announced = 0;
    SqliteStore::Observer observer;
    observer.committed = [&](const auto& jobs) { announced += static_cast<int>(jobs.size()); };
    const auto store = SqliteStore::Open(path, observer);
    ASSERT_TRUE(store.ok()) << store.status();
    ASSERT_TRUE(put(**store, "before").ok());
    failing_sync = true;
    EXPECT_TRUE(absl::IsUnavailable(put(**store, "during")));
    failing_sync = false;
    EXPECT_TRUE(absl::IsUnavailable(put(**store, "after")))
        << "a disk that failed once is not trusted";
    EXPECT_TRUE(absl::IsUnavailable((*store)->Read([](StoreReader&) { return absl::OkStatus(); })));
    EXPECT_EQ(announced, 1) << "what was not committed was announced";
  }
  const auto store = SqliteStore::Open(path, {});
  ASSERT_TRUE(store.ok()) << store.status();
  EXPECT_TRUE((*store)
                  ->Read([](StoreReader& reader) {
                    EXPECT_TRUE(reader.GetJob("before").ok());
                    EXPECT_TRUE(absl::IsNotFound(reader.GetJob("after").status()));
                    return absl::OkStatus();
                  })
                  .ok());
}

}  // namespace
}  // namespace wavefield::coordinator
