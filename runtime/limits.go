package runtime

import (
	"log/slog"
	"os"
	"runtime/debug"
	"strconv"
	"strings"
)

// gcPercent is how much the heap may grow, in percent of what is in use, before the garbage collector runs, where GOGC says
// nothing. Random pages of 100 books under 64 clients, on MySQL and on SQLite: at Go's own 100 the collector takes some 130 of
// 430 µs of processor a page, and the process 29 and 43 MB; at 250, 55 µs, and 40 and 53 MB; at 400, 35 µs, and 50 and 63 MB.
const gcPercent = 250

// limitMemory asks the Go runtime to keep the process below most bytes, and below half of what the machine or its container
// has: the rest is for stacks, sockets and whatever else lives there. It returns the limit, 0 where none was set: GOMEMLIMIT is
// the operator's word. The limit is one that the garbage collector works harder for, and that only memory in use can pass; below
// it, the collector works less than it would by itself.
func limitMemory(most int64) int64 {
	if most <= 0 {
		return 0
	}
	if os.Getenv("GOGC") == "" {
		debug.SetGCPercent(gcPercent)
	}
	if os.Getenv("GOMEMLIMIT") != "" {
		return 0
	}
	if has := memory(); has > 0 {
		most = min(most, has/2)
	}
	debug.SetMemoryLimit(most)
	return most
}

// containerMemory is how many bytes of memory the control groups of this process allow, 0 where none of them limits it.
func containerMemory(read func(file string) ([]byte, error)) (least int64) {
	groups, _ := read("/proc/self/cgroup")
	for line := range strings.Lines(string(groups)) {
		_, rest, _ := strings.Cut(strings.TrimSpace(line), ":")
		controllers, group, _ := strings.Cut(rest, ":")
		root, file := "/sys/fs/cgroup", "/memory.max"
		switch controllers {
		case "":
		case "memory":
			root, file = "/sys/fs/cgroup/memory", "/memory.limit_in_bytes"
		default:
			continue
		}
		for { // the groups above limit it as well; inside a container they are not to be seen, and the root is its own
			text, err := read(root + strings.TrimSuffix(group, "/") + file)
			if n, bad := strconv.ParseInt(strings.TrimSpace(string(text)), 10, 64); err == nil && bad == nil && n > 0 && (least == 0 || n < least) {
				least = n
			}
			if group = strings.TrimSuffix(group, "/"); group == "" {
				break
			}
			group = group[:max(strings.LastIndexByte(group, '/'), 0)]
		}
	}
	return least
}

// spareDescriptors are for the listener, the log, look-ups of names, and what the Go runtime has open.
const spareDescriptors = 32

// fitDescriptors returns how many connections the process has file descriptors for: as many as wanted, or fewer, where
// those that the app needs for itself would be missing. It says so in the log. Go has raised the soft limit to the hard one.
func fitDescriptors(wanted, others int, log *slog.Logger) int {
	allowed := descriptors()
	needed := wanted + others + spareDescriptors
	if allowed == 0 || allowed >= needed {
		return wanted
	}
	fits := max(allowed-others-spareDescriptors, allowed/2)
	log.Warn("few file descriptors: fewer connections are served at once; raise the limit (ulimit -n, LimitNOFILE, --ulimit nofile)",
		"limit", allowed, "needed", needed, "connections", fits)
	return fits
}
