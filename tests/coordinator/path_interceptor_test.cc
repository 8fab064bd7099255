// What errors say of this host's directories.
#include "coordinator/server/path_interceptor.h"

#include <gtest/gtest.h>

namespace wavefield::coordinator {
namespace {

TEST(WithoutPaths, DirectoriesAreCalledByTheirNames) {
  const std::vector<PrivateDirectory> directories = {{"/srv/wavefield/storage", "STORAGE_ROOT"},
                                                     {"/srv/wavefield/", "DATA_DIR"}};
  EXPECT_EQ(WithoutPaths("cannot write /srv/wavefield/storage/uploads/a: no space", directories),
            "cannot write STORAGE_ROOT/uploads/a: no space");
  EXPECT_EQ(WithoutPaths("'/srv/wavefield/storage' and '/srv/wavefield/store.db'", directories),
            "'STORAGE_ROOT' and 'DATA_DIR/store.db'");
  EXPECT_EQ(WithoutPaths("/srv/wavefield-2/a and /srv/wavefield", directories),
            "/srv/wavefield-2/a and DATA_DIR");
}

TEST(WithoutPaths, NoWordOfAMessageIsTakenForADirectory) {
  const std::vector<PrivateDirectory> directories = {{"/data", "DATA_DIR"}};
  for (const char* text : {"jobs/data does not exist", "/mnt/data/x", "/data.old/x", "/database"}) {
    EXPECT_EQ(WithoutPaths(text, directories), text);
  }
  EXPECT_EQ(WithoutPaths("no space in /data.", directories), "no space in DATA_DIR.");
  EXPECT_EQ(
      WithoutPaths("'data' is not / in data/b", {{"data", "DATA_DIR"}, {"/", "STORAGE_ROOT"}}),
      "'data' is not / in data/b");
}

}  // namespace
}  // namespace wavefield::coordinator
