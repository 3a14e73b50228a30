use super::*;
use crate::config::{KeySource, PasswordSource};

/// The test vectors of the web3 secret storage definition; their password and their secret.
const SCRYPT: &str = r#"{"crypto":{"cipher":"aes-128-ctr","cipherparams":{"iv":"83dbcc02d8ccb40e466191a123791e0e"},
"ciphertext":"d172bf743a674da9cdad04534d56926ef8358534d458fffccd4e6ad2fbde479c","kdf":"scrypt",
"kdfparams":{"dklen":32,"n":262144,"p":8,"r":1,"salt":"ab0c7876052600dd703518d6fc3fe8984592145b591fc8fb5c6d43190334ba19"},
"mac":"2103ac29920d71da29f15d75b4a16dbe95cfd7ff8faea1056c33131d846e3097"},
"id":"3198bc9c-6672-5ab3-d995-4942343ae5b6","version":3}"#;
const PBKDF2: &str = r#"{"crypto":{"cipher":"aes-128-ctr","cipherparams":{"iv":"6087dab2f9fdbbfaddc31a909735c1e6"},
"ciphertext":"5318b4d5bcd28de64ee5559e671353e16f075ecae9f99c7a79a38af5f869aa46","kdf":"pbkdf2",
"kdfparams":{"c":262144,"dklen":32,"prf":"hmac-sha256","salt":"ae3cd4e7013836a3df6bd7241b12db061dbe2c6785853cce422d148a624ce0bd"},
"mac":"517ead924a9d0dc3124507e3393d175ce3ff7c1e96529c6c555ce9e51205e9b2"},
"id":"3198bc9c-6672-5ab3-d995-4942343ae5b6","version":3}"#;
const PASSWORD: &str = "testpassword";
const SECRET: &str = "7a28b5ba57c53603b0b07b56bba752f7784bf506fa95edc395f5cf6c7514fe9d";

fn file(content: &str) -> (tempfile::TempDir, PathBuf) {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("key.json");
    std::fs::write(&path, content).unwrap();
    (dir, path)
}

fn light(secret: &str, password: &str) -> Keystore {
    Keystore::encrypt(&parse_secret(secret, "test").unwrap(), password.as_bytes(), ScryptCost::Light).unwrap()
}

#[test]
fn the_vectors_of_the_definition_open() {
    for vector in [SCRYPT, PBKDF2] {
        let (_dir, path) = file(vector);
        assert_eq!(hex::encode(*unlock(&path, PASSWORD).unwrap()), SECRET);
    }
}

#[test]
fn a_key_that_was_written_opens_again_and_only_its_owner_may_read_it() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("deep/down/key.json");
    write_new(&path, &light(SECRET, "word")).unwrap();
    assert_eq!(hex::encode(*unlock(&path, "word").unwrap()), SECRET);
    #[cfg(unix)]
    {
        let mode = std::os::unix::fs::PermissionsExt::mode(&std::fs::metadata(&path).unwrap().permissions());
        assert_eq!(mode & 0o777, 0o600);
    }
    assert!(matches!(write_new(&path, &light(SECRET, "word")), Err(KeystoreError::Exists(_))));
}

#[test]
fn a_wrong_password_says_so() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("key.json");
    write_new(&path, &light(SECRET, "word")).unwrap();
    let error = unlock(&path, "wort").unwrap_err();
    assert!(matches!(error, KeystoreError::WrongPassword(_)));
    assert!(error.to_string().contains("wrong password") && error.to_string().contains("key.json"));
}

#[test]
fn a_file_that_states_another_address_is_refused() {
    let text = serde_json::to_string(&light(SECRET, "word")).unwrap();
    let address = address_of(&parse_secret(SECRET, "test").unwrap()).unwrap().to_string();
    let (_dir, path) = file(&text.replace(&address[2..], "f39fd6e51aad88f6f4ce6ab8827279cfffb92266"));
    assert!(matches!(unlock(&path, "word"), Err(KeystoreError::OtherKey { .. })));
}

#[test]
fn files_that_are_no_keystores_are_refused_with_what_is_wrong() {
    let cases = [
        ("{}", "crypto"),
        ("not json", "expected"),
        (&SCRYPT.replace("\"version\":3", "\"version\":1"), "version 1"),
        (&SCRYPT.replace("aes-128-ctr", "rot13"), "rot13"),
        (&SCRYPT.replace("262144", "1073741824"), "scrypt"),
        (&SCRYPT.replace("262144", "262143"), "scrypt"),
        (&SCRYPT.replace("\"scrypt\"", "\"md5\""), "md5"),
        (&PBKDF2.replace("hmac-sha256", "hmac-md5"), "hmac-md5"),
        (&SCRYPT.replace("d172bf", "zz"), "ciphertext"),
    ];
    for (text, expected) in cases {
        let (_dir, path) = file(text);
        let error = unlock(&path, PASSWORD).unwrap_err().to_string();
        assert!(error.contains(expected) && error.contains("key.json"), "{error}");
    }
}

#[test]
fn passwords_come_from_a_files_first_line_and_an_empty_one_is_refused() {
    let (_dir, path) = file("word\nsecond line\n");
    assert_eq!(*read_password(&PasswordSource::File(path), "").unwrap(), "word");
    let (_dir, empty) = file("\n");
    assert!(matches!(read_password(&PasswordSource::File(empty), ""), Err(KeystoreError::NoPassword(_))));
    let unset = read_password(&PasswordSource::Env("SQUAD_TEST_UNSET".into()), "").unwrap_err();
    assert!(unset.to_string().contains("SQUAD_TEST_UNSET"));
}

#[test]
fn a_configured_key_is_opened_from_either_kind_of_file() {
    let (_dir, plain) = file(&format!("0x{SECRET}\n"));
    assert_eq!(hex::encode(*open(&KeySource::PlaintextDev { path: plain }).unwrap()), SECRET);
    let (_dir, nonsense) = file("0x00");
    assert!(matches!(open(&KeySource::PlaintextDev { path: nonsense }), Err(KeystoreError::NoSecret { .. })));
    let (_dir, word) = file(PASSWORD);
    let (_dir2, path) = file(PBKDF2);
    let source = KeySource::Keystore { path, password: PasswordSource::File(word) };
    assert_eq!(hex::encode(*open(&source).unwrap()), SECRET);
}

#[test]
fn a_directory_lists_its_keystores_and_nothing_else() {
    let (dir, _path) = file(&serde_json::to_string(&light(SECRET, "word")).unwrap());
    std::fs::write(dir.path().join("notes.txt"), "hello").unwrap();
    let found = list(dir.path()).unwrap();
    assert_eq!(found.len(), 1);
    assert_eq!(found[0].1, address_of(&parse_secret(SECRET, "test").unwrap()));
}

#[test]
fn zero_and_the_group_order_are_no_keys() {
    assert!(parse_secret(&"00".repeat(32), "test").is_err());
    assert!(parse_secret(&"ff".repeat(32), "test").is_err());
    assert_ne!(*generate().unwrap(), *generate().unwrap());
}
