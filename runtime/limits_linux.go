package runtime

import (
	"math"
	"os"

	"golang.org/x/sys/unix"
)

// memory is how many bytes of memory this process could have, by its control groups and by the machine; 0: not known.
func memory() int64 {
	least := containerMemory(os.ReadFile)
	var machine unix.Sysinfo_t
	if unix.Sysinfo(&machine) == nil {
		if total := int64(machine.Totalram) * int64(machine.Unit); least == 0 || total < least {
			least = total
		}
	}
	return least
}

// descriptors is how many file descriptors this process may have open; 0: not known.
func descriptors() int {
	var limit unix.Rlimit
	if unix.Getrlimit(unix.RLIMIT_NOFILE, &limit) != nil {
		return 0
	}
	return int(min(limit.Cur, math.MaxInt32))
}
