package dbtest

import (
	"os"
	"path/filepath"
	"slices"
	"testing"
	"time"

	"library-management/library"
)

// CityData names the environment variable of the folder in which a city's library stays, so that it is made once and measured often:
// it takes some minutes and 6 GB. Without it the library is made anew, and removed.
const CityData = "CITY_DATA"

// madeBy is kept beside the data, and changes where what is made changes: other data are made anew.
const madeBy = "made library 2\n"

// citySettings are those of a server that is alone on a machine of 8 GB. What is committed is on the disk.
var citySettings = []string{"--skip-log-bin", "--innodb-buffer-pool-size=4G", "--innodb-flush-method=fsync", "--loose-innodb-redo-log-capacity=1G", "--loose-innodb-log-file-size=1G", "--max-connections=200"}

// CityServer starts a server with a city's library and a school's. Skips or fails like MySQL where the machine has none. With
// CITY_SIZE=small the city is Small, to try what measures it.
func CityServer(t testing.TB) (size Size, city, school *Database) {
	t.Helper()
	size, made := City, madeBy
	if os.Getenv("CITY_SIZE") == "small" {
		size, made = Small, "small "+made
	}
	binary, err := serverBinary()
	if err != nil {
		missing(t, err)
	}
	folder := os.Getenv(CityData)
	keep := folder != ""
	if !keep {
		if folder, err = os.MkdirTemp("", "city"); err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { os.RemoveAll(folder) })
	}
	mark := filepath.Join(folder, "made")
	have, _ := os.ReadFile(mark)
	made += binary + "\n"
	ready := string(have) == made
	if !ready {
		if err := os.RemoveAll(filepath.Join(folder, "data")); err != nil {
			t.Fatal(err)
		}
		if err := os.MkdirAll(folder, 0o700); err != nil {
			t.Fatal(err)
		}
	}
	s, err := initialiseIn(binary, folder, slices.Clone(citySettings))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(s.Kill)
	names := map[string]Size{"city": size, "school": School}
	if !ready {
		if err := s.run("--innodb-flush-log-at-trx-commit=0", "--innodb-doublewrite=OFF"); err != nil {
			t.Fatal(err)
		}
		began := time.Now()
		for name, size := range names {
			if _, err := s.Admin(t).Exec("CREATE DATABASE " + name); err != nil {
				t.Fatal(err)
			}
			MakeLibrary(t, database(s.config(), name), size, 1, library.DateOf(time.Now().UTC()))
		}
		t.Logf("made the libraries in %s", time.Since(began).Round(time.Second))
		s.Stop(t)
		if err := os.WriteFile(mark, []byte(made), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	if err := s.run(); err != nil {
		t.Fatal(err)
	}
	city, school = database(s.config(), "city"), database(s.config(), "school")
	city.Open(t) // where they were made by an older version
	school.Open(t)
	return size, city, school
}
