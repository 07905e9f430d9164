// Command emptyfunction does nothing on Lambda: BenchmarkLambda_start measures the program against it.
package main

import "github.com/aws/aws-lambda-go/lambda"

func main() { lambda.Start(func() {}) }
