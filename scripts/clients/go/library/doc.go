// Package library is the client that scripts/clients/run generates beside this file.
package library
