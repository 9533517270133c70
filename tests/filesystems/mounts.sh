# Mounts each file system at "$m", and takes it down. Sourced by tests/filesystems.sh.

all_names=(ext2 ext3 ext4 xfs btrfs vfat exfat tmpfs ramfs overlay-on-tmpfs overlay-on-ext4 read-only full
    bindfs mergerfs unionfs-fuse sshfs ntfs-3g lowntfs-3g gocryptfs fuse-overlayfs exfat-fuse
    bindfs-and-behind bindfs-crowded)

LACKS_PACKAGE=10
LACKS_KERNEL=11
DEAD_PID=2000000000

# Commands that undo the set-up, last first.
undo=()
tear_down() {
    local i
    for ((i = ${#undo[@]} - 1; i >= 0; i--)); do
        eval "${undo[i]}" || true
    done
    undo=()
}

# A process left by a test must not keep the mount: unmount lazily if need be.
unmount_later() {
    undo+=("umount '$1' 2>/dev/null || umount -l '$1'")
}

package_of() { # COMMAND PACKAGE
    command -v "$1" >/dev/null && return
    why="$1 is missing (package $2)"
    return "$LACKS_PACKAGE"
}

kernel_has() { # FILE-SYSTEM
    grep -qw "$1" /proc/filesystems || { modprobe "$1" 2>/dev/null && grep -qw "$1" /proc/filesystems; } && return
    why="this kernel has no $1"
    return "$LACKS_KERNEL"
}

has_fuse() {
    [ -c /dev/fuse ] && kernel_has fuse && return
    why="there is no /dev/fuse"
    return "$LACKS_KERNEL"
}

image() { # SIZE MKFS…: makes a file system in a file
    truncate -s "$1" "$WORK/$name/image"
    "${@:2}" "$WORK/$name/image" >"$WORK/$name/mkfs" 2>&1 || { cat "$WORK/$name/mkfs" >&2; return 1; }
}

mount_at() { # DIRECTORY ARGUMENT…
    mount "${@:2}" "$1" || return
    unmount_later "$1"
}

loop() { # FILE-SYSTEM PACKAGE SIZE MKFS…
    kernel_has "$1" && package_of "$4" "$2" || return
    image "$3" "${@:4}" && mount_at "$m" -o loop -t "$1" "$WORK/$name/image"
}

overlay() { # WHERE: its upper layer is there; a stale and a live file are in the lower one
    kernel_has overlay && mkdir "$1/lower" "$1/upper" "$1/work" || return
    local i
    for ((i = 0; i < 20; i++)); do echo $DEAD_PID >"$1/lower/stale$i.pid"; done
    echo $$ >"$1/lower/live.pid"
    mount_at "$m" -t overlay -o "lowerdir=$1/lower,upperdir=$1/upper,workdir=$1/work" overlay
}

# A FUSE server has forked and is ready when the mount is there.
mounted_by() {
    unmount_later "$m"
    "$@" >"$WORK/$name/server" 2>&1 && mountpoint -q "$m" && return
    cat "$WORK/$name/server" >&2
    return 1
}

sshd_of_our_own() {
    local sshd keys=$WORK/$name try
    sshd=$(command -v sshd || echo /usr/sbin/sshd)
    ssh-keygen -q -t ed25519 -N '' -f "$keys/host"
    ssh-keygen -q -t ed25519 -N '' -f "$keys/user"
    [ -d /run/sshd ] || { mkdir /run/sshd && undo+=("rmdir /run/sshd"); }
    for ((try = 0; try < 20; try++)); do
        port=$((20000 + RANDOM % 10000))
        "$sshd" -D -f /dev/null -h "$keys/host" -p $port -E "$keys/log" -o ListenAddress=127.0.0.1 -o UsePAM=no \
            -o AuthorizedKeysFile="$keys/user.pub" -o PermitRootLogin=yes -o StrictModes=no -o PidFile=none \
            -o Subsystem="sftp internal-sftp" &
        undo+=("kill $! 2>/dev/null; wait $! 2>/dev/null")
        # Another program may have taken the port, and then this sshd ends.
        while kill -0 $! 2>/dev/null; do
            grep -qs "Server listening" "$keys/log" && return
            sleep 0.05
        done
    done
    cat "$keys/log" >&2
    return 1
}

set_up() {
    local behind=$WORK/$name/behind users=allow_other,default_permissions device status=0
    mkdir -p "$behind"
    case $name in
    ext2 | ext3 | ext4) loop "$name" e2fsprogs 64M "mkfs.$name" -q -F ;;
    xfs) loop xfs xfsprogs 320M mkfs.xfs -q ;;
    btrfs) loop btrfs btrfs-progs 160M mkfs.btrfs -q ;;
    vfat) loop vfat dosfstools 64M mkfs.vfat ;;
    exfat) loop exfat exfatprogs 64M mkfs.exfat ;;
    tmpfs | ramfs) mount_at "$m" -t "$name" "$name" ;;
    overlay-on-tmpfs) mount_at "$behind" -t tmpfs tmpfs && overlay "$behind" ;;
    overlay-on-ext4)
        package_of mkfs.ext4 e2fsprogs || return
        image 64M mkfs.ext4 -q -F && mount_at "$behind" -o loop "$WORK/$name/image" && overlay "$behind"
        ;;
    read-only)
        package_of mkfs.ext4 e2fsprogs || return
        image 64M mkfs.ext4 -q -F && mount -o loop "$WORK/$name/image" "$m" &&
            echo $DEAD_PID >"$m/stale.pid" && umount "$m" && mount_at "$m" -o loop,ro "$WORK/$name/image"
        ;;
    full) mount_at "$m" -t tmpfs -o size=64k tmpfs && ! head -c 1M /dev/zero >"$m/filler" 2>/dev/null ;;
    bindfs | bindfs-*)
        has_fuse && package_of bindfs bindfs || return
        # On a tmpfs a large number of files costs nothing unless we cause it.
        [ "$name" != bindfs-crowded ] || mount_at "$behind" -t tmpfs tmpfs || return
        mounted_by bindfs "$behind" "$m"
        ;;
    mergerfs)
        has_fuse && package_of mergerfs mergerfs || return
        mkdir "$behind/1" "$behind/2" && mounted_by mergerfs -o allow_other "$behind/1:$behind/2" "$m"
        ;;
    unionfs-fuse)
        has_fuse && package_of unionfs unionfs-fuse || return
        mkdir "$behind/upper" "$behind/lower" &&
            mounted_by unionfs -o cow,$users "$behind/upper=RW:$behind/lower=RO" "$m"
        ;;
    sshfs)
        has_fuse && package_of sshfs sshfs && package_of ssh-keygen openssh-client || return
        PATH=$PATH:/usr/sbin package_of sshd openssh-server || return
        sshd_of_our_own && mounted_by sshfs -p "$port" -o "$users,IdentityFile=$WORK/$name/user,StrictHostKeyChecking=no" \
            -o UserKnownHostsFile=/dev/null "root@127.0.0.1:$behind" "$m"
        ;;
    ntfs-3g | lowntfs-3g)
        has_fuse && package_of "$name" ntfs-3g || return
        image 64M mkntfs -q -Q -F && mounted_by "$name" -o permissions,allow_other "$WORK/$name/image" "$m"
        ;;
    gocryptfs)
        has_fuse && package_of gocryptfs gocryptfs || return
        echo password >"$WORK/$name/password"
        gocryptfs -q -init -scryptn 10 -passfile "$WORK/$name/password" "$behind" >/dev/null &&
            mounted_by gocryptfs -q -allow_other -passfile "$WORK/$name/password" "$behind" "$m"
        ;;
    fuse-overlayfs)
        has_fuse && package_of fuse-overlayfs fuse-overlayfs || return
        mkdir "$behind/lower" "$behind/upper" "$behind/work" && mounted_by fuse-overlayfs \
            -o "allow_other,lowerdir=$behind/lower,upperdir=$behind/upper,workdir=$behind/work" "$m"
        ;;
    exfat-fuse)
        has_fuse && package_of mount.exfat-fuse exfat-fuse && package_of mkfs.exfat exfatprogs || return
        image 64M mkfs.exfat && device=$(losetup -f --show "$WORK/$name/image") || return
        mounted_by mount.exfat-fuse -o allow_other "$device" "$m" || status=$?
        # The kernel frees it when nobody has it open any more.
        losetup -d "$device"
        return $status
        ;;
    *)
        echo "no such file system: $name" >&2
        return 1
        ;;
    esac
}
