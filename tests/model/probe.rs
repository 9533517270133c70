use crate::*;
use crate::check::*;

fn try_clean(name: &str, rules: Rules) {
    let t = std::time::Instant::now();
    match std::panic::catch_unwind(|| rules.assert_clean()) {
        Ok(n) => println!("{name}: {n} states {:?}", t.elapsed()),
        Err(e) => println!("{name}: VIOLATED {:?}\n{}", t.elapsed(), e.downcast_ref::<String>().cloned().unwrap_or_default()),
    }
}

#[test]
fn all() {
    let ex = |r: Rules| Rules { publish: Publish::Exclusive, ..r };

    let rm = Rm::NotBetweenCheckAndUnlink;
    for fs in [FileSystem::NumbersUsedAgain, FileSystem::SillyRename, FileSystem::TwoClients] {
        try_clean(&format!("rm {fs:?} as written"), but(Mutant::OwnByNumberAlone, Rules { rm, ..on(fs, processes(2)) }));
        try_clean(&format!("rm {fs:?}"), Rules { rm, ..on(fs, processes(2)) });
        try_clean(&format!("script {fs:?}"), on(fs, with_a_script(processes(1))));
    }
    try_clean("rm", Rules { rm, ..processes(2) });
    try_clean("fuse adopts rm", Rules { rm, crashes: false, ..on(FileSystem::NumbersUsedAgain, with_a_child(Fork::AndAdopt, processes(1))) });
    try_clean("ex child", ex(with_a_child(Fork::AndDrop, Rules { starts: ABSENT, ..processes(1)})));
    try_clean("ex threads", ex(Rules { threads: 2, ..processes(1)}));
    try_clean("ex fuse threads", on(FileSystem::NumbersUsedAgain, Rules { threads: 2, ..processes(1)}));
    try_clean("sticky script ex", Rules { sticky: true, ..ex(with_a_script(processes(1))) });
    try_clean("sticky child", Rules { sticky: true, ..with_a_child(Fork::AndAdopt, processes(1)) });
    try_clean("sticky klo", Rules { sticky: true, kernel_lock_only: true, ..ex(processes(2)) });
    try_clean("ex klo", Rules { kernel_lock_only: true, ..ex(processes(2)) });
}
