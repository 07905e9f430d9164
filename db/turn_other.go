//go:build !(linux || darwin || freebsd || netbsd || openbsd)

package db

import "os"

func lockShared(*os.File) bool { return false }
func lockAlone(*os.File) bool  { return true }
func unlock(*os.File)          {}
