mapfile -t files < <(ls)
declare -A names
echo "${name,,}"
readlink -f x
sha256sum x
