package runtime

import (
	"os"
	"testing"
)

func TestContainerMemory(t *testing.T) {
	for _, test := range []struct {
		name  string
		files map[string]string
		want  int64
	}{
		{"no control groups", nil, 0},
		{"version 2, in a container", map[string]string{"/proc/self/cgroup": "0::/\n", "/sys/fs/cgroup/memory.max": "268435456\n"}, 268435456},
		{"version 2, no limit", map[string]string{"/proc/self/cgroup": "0::/a\n", "/sys/fs/cgroup/a/memory.max": "max\n"}, 0},
		{"version 2, of a service and of its slice", map[string]string{"/proc/self/cgroup": "0::/s.slice/a.service\n", "/sys/fs/cgroup/s.slice/a.service/memory.max": "max\n",
			"/sys/fs/cgroup/s.slice/memory.max": "1000\n"}, 1000},
		{"version 1", map[string]string{"/proc/self/cgroup": "5:cpu:/a\n4:memory:/a/b\n0::/\n", "/sys/fs/cgroup/memory/a/b/memory.limit_in_bytes": "2000\n",
			"/sys/fs/cgroup/memory/memory.limit_in_bytes": "9223372036854771712\n"}, 2000},
		{"version 1, in a container", map[string]string{"/proc/self/cgroup": "4:memory:/docker/x\n", "/sys/fs/cgroup/memory/memory.limit_in_bytes": "3000\n"}, 3000},
	} {
		got := containerMemory(func(file string) ([]byte, error) {
			if text, ok := test.files[file]; ok {
				return []byte(text), nil
			}
			return nil, os.ErrNotExist
		})
		if got != test.want {
			t.Errorf("%s: got %d, want %d", test.name, got, test.want)
		}
	}
}
