# Puts user-data.sh into app.yaml, between its two marks: awk -f user-data.awk user-data.sh app.yaml
FNR == NR { script[++lines] = $0; next }
/^ *# Above: deploy\/ec2\/user-data.sh/ { inside = 0 }
!inside { print }
/^ *# Below: deploy\/ec2\/user-data.sh/ {
  inside = 1
  indent = substr($0, 1, index($0, "#") - 1)
  print indent "- |"
  for (i = 1; i <= lines; i++) print (script[i] == "" ? "" : indent "  " script[i])
}
